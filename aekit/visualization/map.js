// An interactive map: samples as points in a plane, to hover, choose, zoom and color. Needs page.js.
"use strict";

const GRAY = "#9aa1a8", RAMP = ["#3b4cc0", "#3f8fb5", "#5bb98a", "#b5c23f", "#f0a03c", "#d9402f"];
const REACH = 18;  // largest distance of a point from the pointer, in pixels
const MOST_IN_LEGEND = 40;  // characters of a name

/* Draws a map into the element `place`. sheet: a Sheet with a thumbnail of each point, or null.
   map: {
     ids: [id, ...],
     layouts: {title: {x: [...], y: [...]}, ...}   with coordinates 0..1, y upwards
     colors: {title: {names: [...], codes: [...]} | {values: [0..1, ...], low, high}, ...}   code -1: none
     neighbors: [[number, ...], ...] or null        the neighbors of each point, the nearest first
   }
   on.choose(number) is called when a point is chosen, on.loop([number, ...]) when a lasso is drawn around points. Without
   on.choose the map itself shows the chosen point and its neighbors; without on.loop there is no lasso.
   Returns {mark}: mark([number, ...], chosen) rings points, with a thicker ring around `chosen` unless it is -1. */
function drawMap(place, map, sheet, on = {}) {
  const canvas = make("canvas", {tabindex: 0, role: "application", "aria-roledescription": "map",
    "aria-label": `Map of ${map.ids.length} samples. Arrow keys go from point to point, plus and minus zoom, 0 shows all.`});
  const tip = make("div", {class: "tip", hidden: true});
  const legend = make("div", {class: "legend", role: "group", "aria-label": "Legend"});
  const hint = make("p", {class: "faint"}, "Choose a point to see its sample and its neighbors.");
  const chosenBox = make("div", {"aria-live": "polite"}, hint);
  const IMAGE = sheet && sheet.kind !== "images" ? 54 : 34;  // side of a thumbnail that replaces its point
  const layouts = Object.keys(map.layouts), colorings = Object.keys(map.colors);
  // Points are drawn in a scrambled order, so that no class covers the others.
  const order = map.ids.map((_, i) => i).sort((a, b) => ((a * 7919) % 10007) - ((b * 7919) % 10007));
  const state = {layout: layouts[0], color: colorings[0] || null, hidden: new Set(), zoom: 1, x: 0, y: 0, hover: -1, chosen: -1, images: false, names: true,
    looping: false, loop: [], marked: []};
  let width = 0, height = 0, asked = false;

  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); });
  };
  const coloring = () => map.colors[state.color];
  const OTHERS = COLORS.length;  // categories beyond the palette share one gray entry of the legend
  const slot = (i) => Math.min(coloring().codes[i], OTHERS);
  const visible = (i) => !(coloring() && coloring().codes && state.hidden.has(slot(i)));
  const colorOf = (i) => {
    const {codes, values} = coloring() || {};
    if (codes) return COLORS[codes[i]] || GRAY;
    return values ? ramp(values[i]) : COLORS[0];
  };
  const side = () => Math.min(width, height) - 2 * 14;
  const toScreen = (x, y) => [width / 2 + state.x + (x - 0.5) * side() * state.zoom, height / 2 + state.y - (y - 0.5) * side() * state.zoom];
  const at = (i) => toScreen(map.layouts[state.layout].x[i], map.layouts[state.layout].y[i]);

  function draw() {
    const bounds = canvas.getBoundingClientRect(), dense = Math.min(3, window.devicePixelRatio || 1);
    if (!bounds.width) return;
    [width, height] = [bounds.width, bounds.height];
    [canvas.width, canvas.height] = [Math.round(width * dense), Math.round(height * dense)];
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
    pen.scale(dense, dense);
    const radius = Math.min(9, Math.max(1.8, 90 / Math.sqrt(map.ids.length)) * Math.sqrt(state.zoom));
    const taken = new Set();
    for (const i of order) {
      if (!visible(i)) continue;
      const [x, y] = at(i);
      if (x < -IMAGE || y < -IMAGE || x > width + IMAGE || y > height + IMAGE) continue;
      const cell = `${Math.floor(x / IMAGE)} ${Math.floor(y / IMAGE)}`;
      if (state.images && !taken.has(cell)) {
        taken.add(cell);
        paintPoint(pen, i);
      } else if (!state.images) {
        pen.globalAlpha = 0.82;
        pen.fillStyle = colorOf(i);
        pen.beginPath();
        pen.arc(x, y, radius, 0, 7);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    const neighbors = state.chosen >= 0 && map.neighbors ? map.neighbors[state.chosen] : [];
    for (const [i, size, line] of [...[...neighbors, ...state.marked].map((i) => [i, 3, 1.5]), [state.chosen, 5, 3], [state.hover, 4, 2]]) {
      if (i < 0) continue;
      const [x, y] = at(i);
      pen.strokeStyle = style.color;
      pen.lineWidth = line;
      pen.beginPath();
      pen.arc(x, y, radius + size, 0, 7);
      pen.stroke();
    }
    if (state.names) drawNames(pen, style, groups());
    if (state.loop.length > 1) {
      pen.beginPath();
      for (const [x, y] of state.loop) pen.lineTo(x, y);
      pen.closePath();
      pen.fillStyle = pen.strokeStyle = style.caretColor;  // a canvas cannot read light-dark()
      pen.lineWidth = 2;
      pen.stroke();
      pen.globalAlpha = 0.12;
      pen.fill();
      pen.globalAlpha = 1;
    }
  }

  const medians = new Map();
  function groups() {
    const key = JSON.stringify([state.layout, state.color]);
    if (!medians.has(key)) medians.set(key, groupMedians(map.layouts[state.layout], coloring() || {}));
    return medians.get(key).filter(({code}) => !state.hidden.has(code)).map((group) => ({...group, at: toScreen(group.x, group.y)}));
  }

  // Images that would overlap another are skipped: zooming in shows them.
  function paintPoint(pen, i) {
    const [x, y] = at(i), wide = sheet.aspect >= 1 ? IMAGE : IMAGE * sheet.aspect, high = wide / sheet.aspect;
    const [left, top] = [Math.floor(x / IMAGE) * IMAGE + (IMAGE - wide) / 2, Math.floor(y / IMAGE) * IMAGE + (IMAGE - high) / 2];
    sheet.paint(pen, i, left + 1, top + 1, wide - 4, high - 4);
    pen.strokeStyle = colorOf(i);
    pen.lineWidth = 1.6;
    pen.strokeRect(left + 0.5, top + 0.5, wide - 3, high - 3);
  }

  function found(x, y) {
    let best = -1, least = REACH ** 2;
    for (const i of order) {
      if (!visible(i)) continue;
      const [px, py] = at(i), away = (px - x) ** 2 + (py - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }

  // Lists the facts about a point: [["label", "7"], ...].
  function facts(i) {
    return Object.entries(map.colors).map(([title, {names, codes, values, low, high}]) =>
      [title, codes ? (codes[i] < 0 ? "none" : names[codes[i]]) : Number((low + values[i] * (high - low)).toPrecision(3)).toString()]);
  }
  const words = (i) => `${map.ids[i]}, ${facts(i).map(([title, value]) => `${title} ${value}`).join(", ")}`;

  function hover(i) {
    if (i === state.hover) return;
    state.hover = i;
    tip.hidden = i < 0;
    if (i >= 0) {
      tip.replaceChildren(...(sheet ? [thumbnail(sheet, i, "")] : []), make("b", {}, map.ids[i]),
        ...facts(i).map(([title, value]) => make("div", {}, `${title}: ${value}`)));
      const [x, y] = at(i), {offsetWidth: wide, offsetHeight: high} = tip;
      tip.style.left = `${Math.max(4, Math.min(width - wide - 4, x + 14 + wide < width ? x + 14 : x - wide - 14))}px`;
      tip.style.top = `${Math.max(4, Math.min(height - high - 4, y - high / 2))}px`;
      tip.querySelectorAll("canvas").forEach(paintThumbnail);
    }
    later();
  }

  function choose(i) {
    state.chosen = i;
    hover(-1);
    if (on.choose) {
      if (i >= 0) on.choose(i);
    } else if (i < 0) chosenBox.replaceChildren(hint);
    else {
      const first = facts(i)[0], neighbors = map.neighbors ? map.neighbors[i] : [];
      const name = (j) => (first ? facts(j)[0][1] : map.ids[j]);
      const {codes} = map.colors.label || {};
      const kind = (j) => (!codes || codes[i] < 0 || codes[j] < 0 ? "" : codes[i] === codes[j] ? "same" : "other");
      const neighbor = (j) => make("figure", {class: kind(j)},
        make("button", {type: "button", "aria-label": `Choose ${words(j)}`, onclick: () => choose(j)},
          sheet ? thumbnail(sheet, j, "") : make("div", {class: "blank"}, "·")),
        make("figcaption", {}, make("b", {}, ...labelSign(kind(j)), name(j)), ...(first ? [pathLine(map.ids[j])] : [])));
      chosenBox.replaceChildren(
        ...(sheet ? [make("div", {class: "first"}, thumbnail(sheet, i, words(i)))] : []),
        make("p", {}, make("b", {}, map.ids[i]), ...facts(i).flatMap((pair) => [make("br"), pair.join(": ")])),
        ...(neighbors.length ? [make("p", {class: "faint"}, "Nearest neighbors:")] : []),
        make("div", {class: sheet && sheet.aspect > 1.3 ? "gallery wide" : "gallery"}, ...neighbors.map(neighbor)));
    }
    later();
  }

  // Finds the points inside the lasso: a ray to the right crosses it an odd number of times.
  function enclosed() {
    const crosses = ([ax, ay], [bx, by], x, y) => (ay > y) !== (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax);
    return order.filter((i) => {
      const [x, y] = at(i);
      return visible(i) && state.loop.filter((corner, n) => crosses(corner, state.loop[(n + 1) % state.loop.length], x, y)).length % 2;
    });
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const before = state.zoom;
    state.zoom = Math.min(60, Math.max(1, state.zoom * factor));
    const by = state.zoom / before;
    state.x = (state.x - (x - width / 2)) * by + (x - width / 2);
    state.y = (state.y - (y - height / 2)) * by + (y - height / 2);
    if (state.zoom === 1) [state.x, state.y] = [0, 0];
    hover(-1);
    later();
  }
  const whole = () => { Object.assign(state, {zoom: 1, x: 0, y: 0}); hover(-1); later(); };

  function explainColors() {
    const {names, codes, low, high} = coloring() || {};
    state.hidden.clear();
    if (!state.color) return legend.replaceChildren();
    if (!names) {
      return legend.replaceChildren(make("span", {class: "ends"}, Number(low.toPrecision(3)).toString(),
        make("i", {class: "ramp", style: `background: linear-gradient(to right, ${RAMP.join(",")})`}), Number(high.toPrecision(3)).toString()));
    }
    const counts = new Map();
    codes.forEach((_, i) => counts.set(slot(i), (counts.get(slot(i)) || 0) + 1));
    const entries = [...COLORS.keys(), OTHERS, -1].filter((code) => counts.has(code));
    const title = (code) => (code < 0 ? "none" : code === OTHERS ? `${names.length - OTHERS} others` : names[code]);
    const buttons = entries.map((code) => make("button", {type: "button", "aria-pressed": "true", title: `${title(code)}: click to hide or show, double-click or Shift to show it alone`},
      make("i", {style: `background: ${COLORS[code] || GRAY}`}), make("bdi", {}, shortened(title(code), MOST_IN_LEGEND)), ` (${counts.get(code)})`));
    const press = () => buttons.forEach((button, n) => button.setAttribute("aria-pressed", !state.hidden.has(entries[n])));
    buttons.forEach((button, n) => {
      const code = entries[n];
      const showAlone = () => {
        state.hidden = new Set(entries.filter((other) => other !== code));
        press();
        later();
      };
      button.addEventListener("click", (event) => {
        if (event.shiftKey) return showAlone();  // by keys too, which have no double-click
        if (!state.hidden.delete(code)) state.hidden.add(code);
        press();
        later();
        return undefined;
      });
      button.addEventListener("dblclick", showAlone);
    });
    const all = make("button", {type: "button", "aria-pressed": "true", onclick: () => { state.hidden.clear(); press(); later(); }}, "all");
    legend.replaceChildren(...buttons, ...(buttons.length > 2 ? [all] : []));
    return undefined;
  }

  // Pointers: a mouse hovers, drags and chooses; one finger chooses and drags sideways, two zoom.
  const down = new Map();
  let moved = 0, apart = 0;
  const local = (event) => {
    const bounds = canvas.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    down.set(event.pointerId, local(event));
    canvas.setPointerCapture(event.pointerId);
    [moved, apart] = [0, 0];
    state.loop = on.loop && (state.looping || event.shiftKey) ? [local(event)] : [];
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = local(event);
    if (!down.has(event.pointerId)) return hover(found(x, y));
    const [fromX, fromY] = down.get(event.pointerId);
    down.set(event.pointerId, [x, y]);
    moved += Math.abs(x - fromX) + Math.abs(y - fromY);
    if (state.loop.length) {
      state.loop.push([x, y]);
      hover(-1);
      later();
    } else if (down.size === 2) {
      const [[ax, ay], [bx, by]] = [...down.values()], away = Math.hypot(ax - bx, ay - by);
      if (apart) zoom(away / apart, (ax + bx) / 2, (ay + by) / 2);
      apart = away;
    } else if (moved > 6) {
      state.x += x - fromX;
      state.y += y - fromY;
      hover(-1);
      later();
    }
    return undefined;
  });
  const lift = (event) => {
    const [x, y] = local(event);
    if (!down.delete(event.pointerId)) return;
    if (event.type === "pointerup" && moved <= 6) choose(found(x, y));
    else if (event.type === "pointerup" && state.loop.length) on.loop(enclosed());
    state.loop = [];
    later();
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("dblclick", (event) => zoom(2, ...local(event)));
  // The wheel scrolls the page, unless the map has focus.
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), ...local(event));
  }, {passive: false});
  canvas.addEventListener("keydown", (event) => {
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (way) choose(onwards(way));
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") whole();
    else if (event.key === "Escape") choose(-1);
    else return;
    event.preventDefault();
  });

  // Finds the nearest point in a direction from the chosen one.
  function onwards([right, downwards]) {
    const [x, y] = state.chosen >= 0 ? at(state.chosen) : [width / 2, height / 2];
    let best = state.chosen, least = Infinity;
    for (const i of order) {
      const [px, py] = at(i), along = (px - x) * right + (py - y) * downwards, aside = Math.abs((px - x) * downwards) + Math.abs((py - y) * right);
      if (i === state.chosen || !visible(i) || along <= 0 || aside > along) continue;
      if (along + aside < least) [best, least] = [i, along + aside];
    }
    return best;
  }

  const select = (title, names, changed) => names.length < 2 ? [] : [make("label", {}, title, make("select", {onchange: (event) => changed(event.target.value)},
    ...names.map((name) => make("option", {}, name))))];
  const toggle = make("button", {type: "button", "aria-pressed": "false", onclick: () => {
    state.images = !state.images;
    toggle.setAttribute("aria-pressed", state.images);
    later();
  }}, sheet && sheet.kind === "images" ? "Images" : "Thumbnails");
  const labels = make("button", {type: "button", "aria-pressed": "true", onclick: () => {
    state.names = !state.names;
    labels.setAttribute("aria-pressed", state.names);
    later();
  }}, "Names");
  const lasso = make("button", {type: "button", "aria-pressed": "false", title: "Draw around points to select them, or hold Shift and draw", onclick: () => {
    state.looping = !state.looping;
    lasso.setAttribute("aria-pressed", state.looping);
    canvas.style.touchAction = state.looping ? "none" : "";
  }}, "Lasso");
  chosenBox.hidden = Boolean(on.choose);
  place.replaceChildren(
    make("div", {class: "controls"},
      ...select("Layout", layouts, (name) => { state.layout = name; whole(); }),
      ...select("Color", colorings, (name) => { state.color = name; explainColors(); later(); }),
      ...(sheet ? [toggle] : []), ...(colorings.some((title) => map.colors[title].names) ? [labels] : []), ...(on.loop ? [lasso] : [])),
    make("div", {class: "stage"},
      make("div", {class: "plane"}, canvas, tip, make("div", {class: "zoom"},
        make("button", {type: "button", "aria-label": "Zoom in", onclick: () => zoom(1.5)}, "+"),
        make("button", {type: "button", "aria-label": "Zoom out", onclick: () => zoom(1 / 1.5)}, "−"),
        make("button", {type: "button", "aria-label": "Show all", onclick: whole}, "⤢"))),
      make("div", {class: "aside"}, legend, chosenBox)));
  explainColors();
  new ResizeObserver(later).observe(canvas);
  document.addEventListener("theme", later);
  if (sheet) sheet.ready.then(later);
  place.map = {state, at, choose, facts, groups};  // for scripts that drive it
  return {mark: (numbers, chosen) => { Object.assign(state, {marked: numbers, chosen}); later(); }};
}

// Returns the color of a value in 0..1.
function ramp(value) {
  const scaled = Math.min(0.9999, Math.max(0, value)) * (RAMP.length - 1), step = Math.floor(scaled), share = scaled - step;
  const parts = [RAMP[step], RAMP[step + 1]].map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  return `rgb(${parts[0].map((from, i) => Math.round(from + share * (parts[1][i] - from))).join(",")})`;
}
