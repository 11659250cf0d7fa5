// The page of an index: what is asked, what was found, the map and the selection. Needs page.js and map.js.
"use strict";

const MOST_SHOWN = 60;  // thumbnails of a selection
const part = (id) => document.getElementById(id);
const index = {about: null, rows: [], numbers: new Map(), map: null};
const state = {query: null, hits: [], asked: 0, selected: new Set()};

async function ask(path, options) {
  const answer = await fetch(path, options);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error || answer.statusText);
  return told;
}
const sent = (rows) => ({method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({rows})});

// One sample as a figure; a click asks for what is near it.
function sample({row, id, label, score, uri}, query = false) {
  const title = label || id, source = uri || (index.about.images ? `/api/image/${row}` : null);
  const image = source ? make("img", {src: source, alt: title, loading: "lazy"}) : make("div", {class: "blank"}, "…");
  const told = make("figcaption", {}, make("b", {}, title), make("br"), [score === undefined ? "" : score.toFixed(3), label ? id : ""].filter(Boolean).join("  "));
  const ready = row === undefined;
  return make("figure", {class: query ? "query" : ""},
    make("button", {type: "button", class: "sample", disabled: ready, "aria-label": `Neighbors of ${id}`, onclick: () => near({row, id, label})}, image), told);
}

// Asks for the neighbors of a sample ({row, id, label}) or of a file ({file, uri}).
async function near(query) {
  const mine = ++state.asked, label = part("label").value, k = part("k").value;
  const terms = new URLSearchParams({k, ...(label ? {label} : {}), ...(query.file ? {} : {row: query.row})});
  try {
    const hits = await ask(`/api/search?${terms}`, query.file ? {method: "POST", body: query.file} : undefined);
    if (mine !== state.asked) return;  // a later question was answered first
    Object.assign(state, {query, hits});
    showHits();
  } catch (error) {
    if (mine === state.asked) complain(error.message);
  }
}

function complain(message) {
  part("problem").textContent = message;
  part("problem").hidden = false;
}

function showHits() {
  const {query, hits} = state;
  part("problem").hidden = part("hint").hidden = true;
  part("title").textContent = `${hits.length} nearest to ${query.file ? query.file.name : query.id}`;
  const first = query.file ? {id: query.file.name, uri: query.uri} : query;
  part("results").replaceChildren(...(query.file && !query.uri ? [] : [sample(first, true)]), ...hits.map((hit) => sample(hit)));
  part("take").hidden = !hits.length;
  const marked = hits.map(({row}) => index.numbers.get(row)).filter((number) => number !== undefined);
  if (index.map) index.map.mark(marked, query.file ? -1 : index.numbers.get(query.row) ?? -1);
}

async function take(file) {
  if (state.query && state.query.uri) URL.revokeObjectURL(state.query.uri);
  part("drop-text").textContent = `${file.name}. Drop another, or click to choose one`;
  await near({file, uri: file.type.startsWith("image/") ? URL.createObjectURL(file) : null});
}

async function select(rows) {
  for (const row of rows) state.selected.add(row);
  const all = [...state.selected];
  part("count").textContent = all.length.toLocaleString("en");
  part("csv").disabled = part("clear").disabled = !all.length;
  if (!all.length) {
    part("composition").textContent = "Draw a loop around points of the map to select them.";
    return part("picked").replaceChildren();
  }
  try {
    const told = await ask("/api/describe", sent(all));
    const counts = new Map();
    for (const {label} of told) if (label !== undefined) counts.set(label || "none", (counts.get(label || "none") || 0) + 1);
    const words = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([label, count]) => `${label} (${count})`);
    part("composition").textContent = [words.join(", "), told.length > MOST_SHOWN ? `${MOST_SHOWN} of them are shown` : ""].filter(Boolean).join("; ");
    part("picked").replaceChildren(...told.slice(0, MOST_SHOWN).map((one) => sample(one)));
  } catch (error) {
    complain(error.message);
  }
  return undefined;
}

async function download() {
  const answer = await fetch("/api/csv", sent([...state.selected]));
  if (!answer.ok) return complain((await answer.json()).error);
  const link = make("a", {href: URL.createObjectURL(await answer.blob()), download: "selection.csv"});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  return undefined;
}

async function suggest() {
  const text = part("name").value;
  if (text.length < 1) return;
  const found = await ask(`/api/find?text=${encodeURIComponent(text)}`);
  part("names").replaceChildren(...found.map(({id}) => make("option", {value: id})));
}

async function begin() {
  index.about = await ask("/api/index");
  const {count, dim, digest, spec, metric, labels, small, files, layout, on_map: shown} = index.about;
  part("facts").textContent = [`${count.toLocaleString("en")} samples`, spec, `${dim} numbers each by encoder ${digest.slice(0, 12)}`, metric].filter(Boolean).join(" · ");
  part("layout").textContent = shown < count ? `${layout}; ${shown.toLocaleString("en")} of ${count.toLocaleString("en")} samples are on it` : layout;
  document.body.classList.toggle("small-images", Boolean(small));
  part("drop").classList.toggle("closed", !files);
  for (const [label, number] of Object.entries(labels)) part("label").append(make("option", {value: label}, `${label || "none"} (${number})`));
  part("only").hidden = !Object.keys(labels).length;
  const {rows, map, sheet} = await ask("/api/map");
  index.rows = rows;
  index.numbers = new Map(rows.map((row, number) => [row, number]));
  if (!rows.length) return;
  index.map = drawMap(part("map"), map, sheet && new Sheet(sheet), {
    choose: (number) => near({row: rows[number], id: map.ids[number], label: map.colors.label && map.colors.label.names[map.colors.label.codes[number]]}),
    loop: (numbers) => select(numbers.map((number) => rows[number])),
  });
}

document.addEventListener("DOMContentLoaded", () => {
  const again = () => state.query && near(state.query);
  part("label").addEventListener("change", again);
  part("k").addEventListener("change", again);
  part("file").addEventListener("change", ({target}) => target.files.length && take(target.files[0]));
  part("random").addEventListener("click", async () => {
    const [one] = await ask("/api/describe", sent([Math.floor(Math.random() * index.about.count)]));
    near(one);
  });
  part("asking").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = part("name").value, found = text ? await ask(`/api/find?text=${encodeURIComponent(text)}`) : [];
    if (found.length) near(found.find(({id}) => id === text) || found[0]);
    else complain(`no id holds ${JSON.stringify(text)}`);
  });
  let waiting = 0;
  part("name").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(suggest, 150);
  });
  part("take").addEventListener("click", () => select(state.hits.map(({row}) => row)));
  part("clear").addEventListener("click", () => { state.selected.clear(); select([]); });
  part("csv").addEventListener("click", download);
  const drop = part("drop");
  for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  begin().catch((error) => complain(error.message));
});
