// The page of an index: queries, their neighbors, the map and the selection. Needs page.js and map.js.
"use strict";

const MAX_SHOWN = 60;  // thumbnails of a selection
const FILE_HINT = "Drop or choose a file", LASSO_HINT = "Draw a lasso around points of the map to select them.";
const part = (id) => document.getElementById(id);
const index = {about: null, rows: [], positions: new Map(), map: null};
const state = {asked: null, query: null, hits: [], request: 0, selected: new Set()};
const desk = matchMedia("(min-width: 1000px)");

async function fetchJson(path, options) {
  const response = await fetch(path, options).catch(() => { throw new Error("The server does not respond. Is aekit serve still running?"); });
  const content = await response.json();
  if (!response.ok) throw new Error(content.error || response.statusText);
  return content;
}
const rowsBody = (rows) => ({method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({rows})});

// One sample as a figure; a click searches for its neighbors. kind: "query", "same", "other" or "".
function sample(record, kind = "") {
  const {row, id, label, score, uri} = record;
  const further = index.about.metadata.filter((name) => name in record).map((name) => `${name}: ${record[name] ?? "missing"}`);
  const source = uri || (index.about.images && row !== undefined ? `/api/image/${row}` : null);
  const image = source ? make("img", {src: source, alt: "", loading: "lazy"}) : make("div", {class: "blank"}, "…");
  const lines = [...(label ? [make("b", {title: label}, ...labelSign(kind === "query" ? "" : kind), label)] : []), pathLine(id),
    ...(score === undefined ? [] : [make("span", {class: "score", title: index.about.metric}, score.toFixed(3))])];
  return make("figure", {class: kind, title: further.join("\n")},
    make("button", {type: "button", class: "sample", disabled: row === undefined, "aria-label": `Neighbors of ${id}${label ? `, label ${label}` : ""}`,
      onclick: () => search({row, id, label})}, image), make("figcaption", {}, ...lines));
}

// Searches for the neighbors of a sample ({row, id, label}) or of a file ({file, uri}).
async function search(query) {
  const request = ++state.request, label = part("label").value, where = part("where").value.trim(), k = part("k").value;
  state.asked = query;
  const terms = new URLSearchParams({k, ...(label ? {label} : {}), ...(where ? {where} : {}), ...(query.file ? {} : {row: query.row})});
  part("results-panel").setAttribute("aria-busy", "true");
  try {
    const hits = await fetchJson(`/api/search?${terms}`, query.file ? {method: "POST", body: query.file} : undefined);
    if (request !== state.request) return;  // a later query was answered first
    Object.assign(state, {query, hits});
    showHits();
  } catch (error) {
    if (request === state.request) fail(error.message);
  }
  if (request === state.request) part("results-panel").removeAttribute("aria-busy");
}

// Shows an error in place of the results, which belong to an earlier query.
function fail(message) {
  Object.assign(state, {query: null, hits: [], request: state.request + 1});
  part("problem").textContent = message;
  part("problem").hidden = false;
  part("title").textContent = "Neighbors";
  part("query").replaceChildren();
  part("results").replaceChildren();
  part("hint").hidden = part("take").hidden = true;
  part("drop-text").textContent = FILE_HINT;
  part("results-panel").removeAttribute("aria-busy");
  if (index.map) index.map.mark([], -1);
  open("results");
}

function showHits() {
  const {query, hits} = state, name = query.file ? query.file.name : query.id;
  part("problem").hidden = part("hint").hidden = true;
  part("title").textContent = `${hits.length} nearest neighbors`;
  const figure = query.file && !query.uri ? make("figure", {}, make("figcaption", {}, pathLine(name))) : sample(query.file ? {id: name, uri: query.uri} : query, "query");
  const labeled = query.label ? hits.filter(({label}) => label) : [], same = labeled.filter(({label}) => label === query.label);
  if (labeled.length) figure.querySelector("figcaption").append(make("span", {}, `${same.length} of ${labeled.length} neighbors share its label`));
  part("query").replaceChildren(figure);
  const kind = (hit) => (!query.label || !hit.label ? "" : hit.label === query.label ? "same" : "other");
  part("results").replaceChildren(...hits.map((hit) => sample(hit, kind(hit))));
  part("take").hidden = !hits.length;
  part("results-panel").scrollTop = 0;
  const marked = hits.map(({row}) => index.positions.get(row)).filter((position) => position !== undefined);
  if (index.map) index.map.mark(marked, query.file ? -1 : index.positions.get(query.row) ?? -1);
  open("results");
}

async function take(file) {
  if (state.query && state.query.uri) URL.revokeObjectURL(state.query.uri);
  part("drop-text").textContent = `${file.name} (drop or choose another)`;
  await search({file, uri: file.type.startsWith("image/") ? URL.createObjectURL(file) : null});
}

async function select(rows) {
  for (const row of rows) state.selected.add(row);
  const all = [...state.selected];
  part("count").textContent = all.length.toLocaleString("en");
  part("tab-selection").textContent = all.length ? `Selection (${all.length.toLocaleString("en")})` : "Selection";
  part("csv").disabled = part("clear").disabled = !all.length;
  if (!all.length) {
    part("composition").textContent = LASSO_HINT;
    return part("picked").replaceChildren();
  }
  try {
    const records = await fetchJson("/api/describe", rowsBody(all));
    const counts = new Map();
    for (const {label} of records) if (label !== undefined) counts.set(label || "none", (counts.get(label || "none") || 0) + 1);
    const labels = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([label, count]) => `${label} (${count})`);
    part("composition").textContent = [labels.join(", "), records.length > MAX_SHOWN ? `the first ${MAX_SHOWN} are shown` : ""].filter(Boolean).join("; ");
    part("picked").replaceChildren(...records.slice(0, MAX_SHOWN).map((record) => sample(record)));
  } catch (error) {
    part("picked").replaceChildren();
    part("composition").textContent = error.message;
  }
  return undefined;
}

async function download() {
  const response = await fetch("/api/csv", rowsBody([...state.selected]));
  if (!response.ok) return void (part("composition").textContent = (await response.json()).error);
  const link = make("a", {href: URL.createObjectURL(await response.blob()), download: "selection.csv"});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  return undefined;
}

async function suggest() {
  const text = part("name").value;
  if (!text) return;
  const records = await fetchJson(`/api/find?text=${encodeURIComponent(text)}`);
  part("names").replaceChildren(...records.map(({id}) => make("option", {value: id})));
}

async function find(text) {
  const records = text ? await fetchJson(`/api/find?text=${encodeURIComponent(text)}`) : [];
  if (records.length) search(records.find(({id}) => id === text) || records[0]);
  else fail(text ? `No sample id contains ${JSON.stringify(text)}.` : "Enter a part of a sample's id.");
}

// On a desk all panels are shown; on a narrow screen they are tabs.
const panels = () => [...document.querySelectorAll(".panel")];
function open(name) {
  if (!desk.matches) part(`tab-${name}`).click();
}
function arrange() {
  for (const panel of panels()) {
    if (desk.matches) panel.removeAttribute("role");
    else panel.setAttribute("role", "tabpanel");
    panel.hidden = !desk.matches && part(`tab-${panel.id.replace("-panel", "")}`).getAttribute("aria-selected") !== "true";
  }
}

// Links to the results of analyses, and what they lead here with: #row=7 searches, #rows=3,7 selects.
async function linkResults() {
  const results = (await fetchJson("/api/results")).filter(({error}) => !error);
  const text = ({title, name}) => (results.filter((other) => other.title === title).length > 1 ? `${title}: ${name}` : title);
  part("pages").append(...results.map((one) => make("a", {class: "one", href: `/results/${encodeURIComponent(one.name)}`}, text(one))));
}
async function follow() {
  const [name, numbers = ""] = location.hash.slice(1).split("="), rows = numbers.split(",").filter(Boolean).map(Number);
  if (name === "row" && rows.length) search((await fetchJson("/api/describe", rowsBody(rows)))[0]);
  if (name === "rows" && rows.length) {
    await select(rows);
    open("selection");
  }
}

async function begin() {
  index.about = await fetchJson("/api/index");
  const {count, dim, digest, spec, metric, labels, small, files, layout, on_map: shown} = index.about;
  part("facts").textContent = [`${count.toLocaleString("en")} samples`, spec, `${dim} dimensions`, `encoder ${digest.slice(0, 12)}`, metric].filter(Boolean).join(" · ");
  part("layout").textContent = shown < count ? `${layout}, ${shown.toLocaleString("en")} of ${count.toLocaleString("en")} samples` : layout;
  document.body.classList.toggle("small-images", Boolean(small));
  part("drop").classList.toggle("closed", !files);
  for (const [label, number] of Object.entries(labels)) part("label").append(make("option", {value: label}, `${label || "none"} (${number})`));
  part("label-filter").hidden = !Object.keys(labels).length;
  const {rows, map, sheet} = await fetchJson("/api/map");
  index.rows = rows;
  index.positions = new Map(rows.map((row, position) => [row, position]));
  if (!rows.length) return;
  index.map = drawMap(part("map"), map, sheet && new Sheet(sheet), {
    choose: (i) => search({row: rows[i], id: map.ids[i], label: map.colors.label && map.colors.label.names && map.colors.label.names[map.colors.label.codes[i]]}),
    loop: (positions) => select(positions.map((position) => rows[position])),
  });
}

document.addEventListener("DOMContentLoaded", () => {
  const attempt = (action) => (...values) => Promise.resolve(action(...values)).catch((error) => fail(error.message));
  const repeat = () => state.asked && search(state.asked);
  for (const filter of ["label", "where"]) part(filter).addEventListener("change", repeat);
  part("k").addEventListener("change", repeat);
  part("file").addEventListener("change", ({target}) => target.files.length && take(target.files[0]));
  part("random").addEventListener("click", attempt(async () => {
    const {count} = index.about || await fetchJson("/api/index");
    search((await fetchJson("/api/describe", rowsBody([Math.floor(Math.random() * count)])))[0]);
  }));
  part("search").addEventListener("submit", (event) => {
    event.preventDefault();
    if (document.activeElement !== part("where")) attempt(find)(part("name").value);  // its change searches again
  });
  let waiting = 0;
  part("name").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => suggest().catch(() => {}), 150);
  });
  part("take").addEventListener("click", () => select(state.hits.map(({row}) => row)));
  part("clear").addEventListener("click", () => { state.selected.clear(); select([]); });
  part("csv").addEventListener("click", attempt(download));
  const drop = part("drop");
  for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  desk.addEventListener("change", arrange);
  document.addEventListener("shown", arrange);
  arrange();
  window.addEventListener("hashchange", attempt(follow));
  attempt(begin)().then(attempt(follow));
  attempt(linkResults)();
});
