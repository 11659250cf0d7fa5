// What every page does: light and dark, tabs, thumbnails out of their sheets, and reading a value off a curve.
"use strict";

const COLORS = ["#3a7bd5", "#e2733b", "#3aa76d", "#cf3f4f", "#8f62c9", "#8c6a4f", "#dd6fb5", "#767b80", "#a8a31d", "#24a9b8",
  "#9cc1ef", "#f3b995", "#9bd5b5", "#eba0a7", "#c9b3e6", "#c7b3a5", "#f1bfe0", "#bcc0c4", "#d6d387", "#95d6de"];

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/* A sheet holds many thumbnails: one image that is cut up, or numbers that are drawn as lines or bars.
   described: {kind: "images", uri, width, height, columns} with the size of a cell in pixels, or
   {kind: "lines" | "bars", values, channels, points, zero} with bytes 0..255 in base64, one thumbnail after the other. */
class Sheet {
  constructor(described) {
    Object.assign(this, described);
    if (this.kind === "images") {
      this.image = new Image();
      this.image.src = this.uri;
      this.ready = this.image.decode();
    } else {
      this.bytes = bytesOf(this.values);
      this.ready = Promise.resolve();
    }
  }

  get aspect() {
    return this.kind === "images" ? this.width / this.height : 1.6;
  }

  // Draws thumbnail `number` into a rectangle, as large as it fits.
  paint(pen, number, x, y, width, height) {
    if (this.kind === "images") this.paintImage(pen, number, x, y, width, height);
    else if (this.kind === "lines") this.paintLines(pen, number, x, y, width, height);
    else this.paintBars(pen, number, x, y, width, height);
  }

  paintImage(pen, number, x, y, width, height) {
    const scale = Math.min(width / this.width, height / this.height);
    const [wide, high] = [this.width * scale, this.height * scale];
    const [column, row] = [number % this.columns, Math.floor(number / this.columns)];
    pen.imageSmoothingEnabled = scale < 2;  // small images show their pixels
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.image, column * this.width, row * this.height, this.width, this.height,
      x + (width - wide) / 2, y + (height - high) / 2, wide, high);
  }

  paintLines(pen, number, x, y, width, height) {
    const gap = height * 0.08;
    for (let channel = 0; channel < this.channels; channel++) {
      const start = (number * this.channels + channel) * this.points;
      pen.beginPath();
      for (let i = 0; i < this.points; i++) {
        const up = this.bytes[start + i] / 255;
        pen.lineTo(x + 2 + (width - 4) * (this.points > 1 ? i / (this.points - 1) : 0.5), y + height - gap - up * (height - 2 * gap));
      }
      pen.strokeStyle = COLORS[channel];
      pen.lineWidth = Math.max(1, Math.min(width, 240) / 90);
      pen.lineJoin = "round";
      pen.stroke();
    }
  }

  paintBars(pen, number, x, y, width, height) {
    const gap = height * 0.06, step = (width - 4) / this.points, level = (value) => y + height - gap - value * (height - 2 * gap);
    for (let i = 0; i < this.points; i++) {
      const value = this.bytes[number * this.points + i] / 255;
      const [top, bottom] = [level(Math.max(value, this.zero)), level(Math.min(value, this.zero))];
      pen.fillStyle = value >= this.zero ? COLORS[0] : COLORS[1];
      pen.fillRect(x + 2 + i * step, top, Math.max(0.6, step * 0.82), Math.max(0.8, bottom - top));
    }
  }
}

// A canvas of its own for one thumbnail. It is drawn once it comes into view, as sharp as the screen is.
function thumbnail(sheet, number, title) {
  const canvas = make("canvas", {class: "thumb", role: "img", "aria-label": title});
  adopt(canvas, sheet, number);
  return canvas;
}

const inView = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) {
    if (!isIntersecting) continue;
    inView.unobserve(target);
    paintThumbnail(target);
  }
}, {rootMargin: "300px"});

function adopt(canvas, sheet, number) {
  canvas.drawn = {sheet, number};
  canvas.style.aspectRatio = sheet.aspect;
  inView.observe(canvas);
}

async function paintThumbnail(canvas, hidden) {
  const {sheet, number} = canvas.drawn, wide = canvas.clientWidth || (hidden ? 120 : 0);
  if (!wide) return;
  await sheet.ready;
  const dense = Math.min(3, window.devicePixelRatio || 1), size = Math.round(wide * dense);
  if (canvas.width === size && canvas.painted === number) return;
  canvas.width = size;
  canvas.height = Math.round(size / sheet.aspect);
  canvas.painted = number;
  sheet.paint(canvas.getContext("2d"), number, 0, 0, canvas.width, canvas.height);
}

// A text of at most this many characters, without its middle: long names often differ at their end alone.
function shortened(text, most) {
  const characters = [...text], tail = (most - 1) >> 1;
  return characters.length > most ? `${characters.slice(0, most - 1 - tail).join("")}…${characters.slice(-tail).join("")}` : text;
}

// A name on one line, or with the folders before the last slash on a line of their own.
function pathLine(id) {
  const cut = id.lastIndexOf("/") + 1;
  return make("span", {class: "path", title: id}, ...(cut ? [make("span", {}, id.slice(0, cut))] : []), make("bdi", {}, id.slice(cut)));
}

// Marks a neighbor that shares the query's label ("same"), or does not ("other").
function labelSign(kind) {
  if (!kind) return [];
  const meaning = kind === "same" ? "same label as the query" : "another label than the query";
  return [make("i", {class: kind, role: "img", "aria-label": meaning, title: meaning}, kind === "same" ? "✓" : "✕"), " "];
}

// The groups of a coloring {names, codes} at the medians of their points, the largest group first.
function groupMedians({x, y}, {names, codes}) {
  if (!names || names.length < 2) return [];
  const members = names.slice(0, COLORS.length).map(() => []);
  codes.forEach((code, i) => members[code] && members[code].push(i));
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  return members.map((own, code) => ({code, size: own.length, x: median(own.map((i) => x[i])), y: median(own.map((i) => y[i])),
    name: shortened(names[code], 24)})).filter(({size}) => size).sort((a, b) => b.size - a.size);
}

// Draws {name, at: [x, y]} in order. A name that would cover another moves up or down by a line, or is left out.
function drawNames(pen, style, named) {
  const boxes = [];
  pen.save();
  Object.assign(pen, {font: "600 13px system-ui, sans-serif", textAlign: "center", textBaseline: "middle", lineJoin: "round", lineWidth: 4,
    strokeStyle: style.backgroundColor, fillStyle: style.color});
  for (const {name, at: [x, y]} of named) {
    const half = pen.measureText(name).width / 2 + 3;
    const free = (top) => boxes.every((box) => Math.abs(box.x - x) >= box.half + half || Math.abs(box.top - top) >= 18);
    const top = [y, y - 18, y + 18].find(free);
    if (top === undefined) continue;
    boxes.push({x, top, half});
    pen.strokeText(name, x, top);
    pen.fillText(name, x, top);
  }
  pen.restore();
}

// Those that were drawn already fit their new size; for paper, all are drawn, those of closed tabs included.
function repaint(all) {
  document.querySelectorAll("canvas.thumb").forEach((canvas) => {
    if (canvas.drawn && (all || canvas.painted !== undefined)) paintThumbnail(canvas, all);
  });
}

// What is out of view is drawn when the browser has nothing else to do, so that screenshots of the whole page are complete.
function paintRest() {
  const rest = [...document.querySelectorAll("canvas.thumb")].filter((canvas) => canvas.drawn && canvas.painted === undefined);
  const idle = window.requestIdleCallback || ((work) => setTimeout(() => work({timeRemaining: () => 8}), 30));
  const work = (deadline) => {
    do {
      const canvas = rest.shift();
      if (canvas && canvas.painted === undefined) paintThumbnail(canvas);
    } while (rest.length && deadline.timeRemaining() > 2);
    if (rest.length) idle(work);
  };
  idle(work);
}

// Light and dark: the reader's system decides until the button does. A file may not be allowed to remember it.
function themes(button) {
  const dark = () => {
    const set = document.documentElement.dataset.theme;
    return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const show = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    const [sign, name] = dark() ? ["☀", "Light"] : ["☾", "Dark"];
    button.replaceChildren(sign, make("span", {}, ` ${name}`));
    button.setAttribute("aria-label", `Show the page in ${name.toLowerCase()} colors`);
    document.dispatchEvent(new Event("theme"));
  };
  let kept = null;
  try { kept = localStorage.getItem("aekit-theme"); } catch { /* private windows have no storage */ }
  show(kept);
  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = dark() ? "light" : "dark";
    try { localStorage.setItem("aekit-theme", theme); } catch { /* as above */ }
    show(theme);
  });
}

// Tabs as the ARIA practices ask for: arrows move, and the address keeps the one that is open.
function tabs(list) {
  const all = [...list.querySelectorAll("[role=tab]")];
  const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  const open = (tab, focus) => {
    for (const other of all) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", chosen);
      other.tabIndex = chosen ? 0 : -1;
      panel(other).hidden = !chosen;
    }
    list.scrollTo({left: tab.offsetLeft - 40});
    if (focus) tab.focus();
    document.dispatchEvent(new Event("shown"));
  };
  const named = (hash) => all.find((tab) => `#${panel(tab).id}` === hash);
  for (const tab of all) {
    tab.addEventListener("click", () => {
      open(tab);
      history.replaceState(null, "", `#${panel(tab).id}`);
    });
  }
  list.addEventListener("keydown", (event) => {
    const at = all.indexOf(document.activeElement), last = all.length - 1;
    const to = {ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last}[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    open(all[to], true);
  });
  window.addEventListener("hashchange", () => named(location.hash) && open(named(location.hash)));
  open(named(location.hash) || all[0]);
}

// A curve tells its value where the pointer is. data-curve: {xs, ys, box: [left, top, width, height], span: [x0, x1, y0, y1], log}.
function curve(figure) {
  const {xs, ys, box, span, log, across} = JSON.parse(figure.dataset.curve), svg = figure.querySelector("svg");
  const output = figure.querySelector("output"), kept = output.textContent;
  const [line, spot] = ["line", "circle"].map((tag) => svg.appendChild(document.createElementNS(svg.namespaceURI, tag)));
  line.setAttribute("class", "cross");
  spot.setAttribute("class", "spot");
  spot.setAttribute("r", 3.5);
  const scaled = (value, from, to) => (to > from ? (value - from) / (to - from) : 0.5), level = (y) => (log ? Math.log10(y) : y);
  const off = () => {
    line.style.display = spot.style.display = "none";
    output.textContent = kept;
  };
  svg.addEventListener("pointermove", (event) => {
    const bounds = svg.getBoundingClientRect(), wide = svg.viewBox.baseVal.width;
    const share = ((event.clientX - bounds.left) / bounds.width * wide - box[0]) / box[2];
    const wanted = span[0] + share * (span[1] - span[0]);
    let best = 0;
    xs.forEach((x, i) => { if (Math.abs(x - wanted) < Math.abs(xs[best] - wanted)) best = i; });
    const x = box[0] + box[2] * scaled(xs[best], span[0], span[1]);
    const y = box[1] + box[3] * (1 - scaled(level(ys[best]), level(span[2]), level(span[3])));
    for (const [key, value] of [["x1", x], ["x2", x], ["y1", box[1]], ["y2", box[1] + box[3]]]) line.setAttribute(key, value);
    spot.setAttribute("cx", x);
    spot.setAttribute("cy", y);
    line.style.display = spot.style.display = "";
    output.textContent = `${across} ${xs[best].toLocaleString("en")}: ${Number(ys[best].toPrecision(4))}`;
  });
  svg.addEventListener("pointerleave", off);
  off();
}

document.documentElement.classList.add("js");
document.addEventListener("DOMContentLoaded", () => {
  const held = document.getElementById("held"), {sheets, maps} = held ? JSON.parse(held.textContent) : {sheets: [], maps: []};
  const ready = sheets.map((described) => new Sheet(described));
  document.querySelectorAll("canvas[data-sheet]").forEach((canvas) => {
    adopt(canvas, ready[canvas.dataset.sheet], Number(canvas.dataset.number));
  });
  document.querySelectorAll(".theme").forEach(themes);
  document.querySelectorAll("[data-map]").forEach((place) => {
    const map = maps[place.dataset.map];
    drawMap(place, map, map.sheet == null ? null : ready[map.sheet]);
  });
  document.querySelectorAll("[role=tablist]").forEach(tabs);
  document.querySelectorAll("[data-curve]").forEach(curve);
  window.addEventListener("resize", () => repaint(false));
  document.addEventListener("shown", () => {
    repaint(false);
    paintRest();
  });
  paintRest();
  window.addEventListener("beforeprint", () => repaint(true));
});
