"""Hidden states on disk: a folder of immutable HDF5 shards and a manifest. numpy and h5py alone.

The format, version 1
---------------------
`manifest.json`: one JSON object.
    format           1
    spec             what the states are of (`StoreSpec`): encoder and its fingerprint, examples and theirs,
                     max_length, tokens ("all" or "cls"), pooler, layers, hidden_dim, codec, batch_tokens, shard_rows
    made_with        versions, also of OpenVINO or XLA where it ran the encoder, device type and dtype; bytes are equal
                     only for equal ones
    truncated        how many texts were longer than max_length
    calibration      mean, deviation and largest deviation of each (state, channel) over a sample, little-endian
                     float32 in base64, each of shape (states, hidden_dim)
    num_shards       how many there will be
    shards           one entry for each finished one, in order: name, examples, rows, bytes, sha256
    sha256           of all the above, as JSON with sorted keys

`shard-00000.h5`, …: no padding; an example's tokens are consecutive rows.
    hidden_states    (rows, states, width), the codec's storage type, contiguous (a reader maps it into memory)
    token_ids        (rows,) int32
    segment_ids      (rows,) uint8
    lengths          (examples,) int32, rows of each example
    example_index    (examples,) int64, its place in the task's order
    labels           (examples,) int32 or float32; (examples, classes) int32 where several classes may hold
    ids              (examples,) UTF-8 bytes

A shard is written as `.shard-00000.h5.partial`, flushed to disk and renamed when whole, and then entered in the
manifest, which is replaced whole. So what has a final name is whole, and a store is complete when all its shards are
in the manifest. Where several processes write a store, `shard-00000.json` holds a shard's entry until all are there
(`parts.py`). In object storage (`cloud.py`) an object is put whole under its final name, a shard only where there is
none, and a manifest only in place of the one that its writer has read.

Beside each shard `shard-00000.sums` has the checksums of its blocks (`blocks.py`), with which a reader compares what
it reads (`check.py`). They can be made again of the shard, whose SHA-256 in the manifest is the measure.

A shard's states are its end, so that the manifest tells where they begin: `bytes` less `rows` times the bytes of a row.
"""

from .cache import CACHE_BYTES, ShardCache
from .check import checking
from .cloud import NO_STORE, CloudPath, Place, read_folder, read_place
from .codecs import CODECS, get_codec
from .opening import find_place, open_store
from .parts import PartWriter, merge_store
from .reader import Store
from .schema import StoreSpec
from .writer import StoreWriter

__all__ = [
    "CACHE_BYTES",
    "CODECS",
    "NO_STORE",
    "CloudPath",
    "PartWriter",
    "Place",
    "ShardCache",
    "Store",
    "StoreSpec",
    "StoreWriter",
    "checking",
    "find_place",
    "get_codec",
    "merge_store",
    "open_store",
    "read_folder",
    "read_place",
]
