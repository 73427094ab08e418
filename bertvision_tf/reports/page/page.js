"use strict";

// Tables that are there already: a click on a heading sorts.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") !== "descending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const read = (row) => row.cells[column].textContent;
      const rows = [...body.rows].sort((one, other) => compare(toNumber(read(one)), toNumber(read(other))));
      body.append(...(down ? rows.reverse() : rows));
    });
  });
}

const UNITS = { MiB: 1, GiB: 1024, TiB: 1024 ** 2 };

function toNumber(text) {
  const number = parseFloat(text.replaceAll(",", ""));
  if (Number.isNaN(number)) return text;
  return number * (UNITS[text.trim().split(" ").at(-1)] ?? 1);
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one === "number" || typeof other === "number") return typeof one === "number" ? 1 : -1;
  return one.localeCompare(other);
}

// Wrong rows: built here from their data, as text and never as markup.
const PAGE = 50;
const LONG = 240; // characters

for (const place of document.querySelectorAll(".mistakes")) showMistakes(place);

function showMistakes(place) {
  const data = JSON.parse(place.querySelector("script").textContent);
  const state = { run: 0, other: -1, label: "", find: "", column: null, down: true, shown: PAGE };
  const controls = make("div", { className: "controls" });
  const count = make("p");
  const table = make("table");
  const more = make("button", { className: "more", type: "button", textContent: "show more" });
  place.append(controls, count, make("div", { className: "scroll" }, table), more);

  const runs = data.runs.map((name, index) => [index, name]);
  if (runs.length > 1) {
    choose("wrong in", runs, (value) => { state.run = Number(value); });
    choose("and said otherwise by", [[-1, "(any)"], ...runs], (value) => { state.other = Number(value); });
  }
  if (data.labels.length) {
    choose("label", [["", "(all)"], ...data.labels.map((name) => [name, name])], (value) => { state.label = value; });
  }
  const find = make("input", { type: "search", placeholder: "words" });
  find.addEventListener("input", () => update({ find: find.value.toLowerCase() }));
  controls.append(make("label", {}, "text contains", find));
  more.addEventListener("click", () => { state.shown += 4 * PAGE; draw(); });
  draw();

  function choose(name, options, set) {
    const select = make("select", {}, ...options.map(([value, text]) => make("option", { value, textContent: text })));
    select.addEventListener("change", () => { set(select.value); update({}); });
    controls.append(make("label", {}, name, select));
  }

  function update(changes) {
    Object.assign(state, changes, { shown: PAGE });
    draw();
  }

  function listColumns() {
    const columns = [{ name: "id", kind: "id", read: (row) => row.id }];
    columns.push({ name: data.texts.length ? "first text" : "text", kind: "text", read: (row) => row.text });
    if (data.texts.length) columns.push({ name: "second text", kind: "text", read: (row) => data.texts[row.pair] });
    columns.push({ name: "label", read: (row) => row.label });
    for (const run of state.other < 0 || state.other === state.run ? [state.run] : [state.run, state.other]) {
      const whose = data.runs.length > 1 ? `${data.runs[run]}: ` : "";
      columns.push({ name: `${whose}prediction`, read: (row) => row.said[run], run });
      if (data.sure) columns.push({ name: `${whose}${data.sure}`, kind: "number", read: (row) => row.sure[run] });
      if (data.kind === "span") columns.push({ name: `${whose}F1`, kind: "number", read: (row) => row.score[run] });
      if (data.kind === "regression") {
        columns.push({ name: `${whose}distance`, kind: "number", read: (row) => -row.score[run] });
      }
    }
    return columns;
  }

  function draw() {
    const columns = listColumns();
    const rows = data.rows.filter((row) =>
      row.wrong[state.run]
      && (state.other < 0 || state.other === state.run || row.said[state.other] !== row.said[state.run])
      && (!state.label || row.label === state.label)
      && (!state.find || `${row.id} ${row.text} ${data.texts[row.pair] ?? ""}`.toLowerCase().includes(state.find)));
    if (state.column !== null && state.column < columns.length) {
      const { read } = columns[state.column];
      const cell = (row) => (data.kind === "regression" ? toNumber(String(read(row) ?? "")) : read(row) ?? "");
      rows.sort((one, other) => (state.down ? -1 : 1) * compare(cell(one), cell(other)));
    }
    const left = data.left_out ? `; ${data.left_out} more rows, of which the runs are less sure, are left out` : "";
    count.textContent = `${rows.length.toLocaleString("en")} rows${left}.`;
    const headings = columns.map((column, index) => {
      const button = make("button", { type: "button", textContent: column.name });
      button.addEventListener("click", () =>
        update({ column: index, down: state.column === index ? !state.down : true }));
      const heading = make("th", { scope: "col" }, button);
      if (index === state.column) heading.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      return heading;
    });
    table.replaceChildren(
      make("thead", {}, make("tr", {}, ...headings)),
      make("tbody", {}, ...rows.slice(0, state.shown).map((row) => make("tr", {}, ...columns.map((column) => {
        const cell = column.read(row);
        const wrong = column.run !== undefined && row.wrong[column.run] ? " is-wrong" : "";
        const text = typeof cell === "number" ? cell.toFixed(3) : cell ?? "";
        const className = `${column.kind ?? ""}${wrong}`;
        return column.kind === "text" ? make("td", { className }, fold(text)) : make("td", { className }, text);
      })))),
    );
    more.hidden = rows.length <= state.shown;
  }
}

// A long text shows its beginning until it is opened.
function fold(text) {
  if (text.length <= LONG) return text;
  return make("details", {}, make("summary", { textContent: `${text.slice(0, LONG - 40)}…` }), text);
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
