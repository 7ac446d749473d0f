// The predicted aligned error as a map, darker for lower errors; dragging over it selects residues.

const GREENS = ["#00441b", "#006d2c", "#238b45", "#41ab5d", "#74c476", "#a1d99b", "#c7e9c0", "#e5f5e0", "#f7fcf5"];

// The colour of each PAE byte as a pixel, on a scale from 0 to `most` angstrom.
function palette(most) {
  const stops = GREENS.map((code) => [1, 3, 5].map((k) => parseInt(code.slice(k, k + 2), 16)));
  const bytes = Uint8ClampedArray.from({ length: 1024 }, (_, k) => {
    if (k % 4 === 3) return 255;
    const place = Math.min(0.999, Math.floor(k / 4) * data.paeStep / most) * (stops.length - 1);
    const low = Math.floor(place);
    return stops[low][k % 4] + (place - low) * (stops[low + 1][k % 4] - stops[low][k % 4]);
  });
  return new Uint32Array(bytes.buffer);
}

// The place of a residue among the rows and columns of the embedded map, which has one for each block of residues.
const block = (i) => Math.floor(i / data.paeBlock);
const blocks = Math.ceil(length / data.paeBlock);

// Draws a map of side x side pixels; each shows the residue pair at its centre.
async function paint(canvas, rank, side) {
  const [values, pixels] = [await paeOf(rank), palette(data.predictions[rank].maxPae)];
  const places = Array.from({ length: side }, (_, k) => block(Math.floor((k + 0.5) * length / side)));
  const image = new ImageData(side, side);
  const target = new Uint32Array(image.data.buffer);
  places.forEach((row, y) => places.forEach((column, x) => { target[y * side + x] = pixels[values[row * blocks + column]]; }));
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

async function drawMap() {
  const { pae, maxPae } = prediction();
  byId("map-card").hidden = pae === null;
  byId("pair").classList.toggle("alone", pae === null);
  byId("scored-label").hidden = pae === null;
  byId("aligned-name").textContent = pae === null ? "residues" : "aligned on";
  if (pae === null) return;
  byId("scale-end").textContent = maxPae.toFixed(0);
  await paint(byId("pae"), state.rank, blocks);
}

function drawBox() {
  byId("box").hidden = !state.aligned;
  byId("selection").classList.toggle("active", Boolean(state.aligned));
  if (!state.aligned) return;
  const [[top, bottom], [left, right]] = [state.aligned, state.scored];
  const share = (value) => `${100 * value / length}%`;
  Object.assign(byId("box").style, {
    left: share(left), top: share(top), width: share(right + 1 - left), height: share(bottom + 1 - top),
  });
  for (const [id, start, size, [first, last]] of [["rows", "top", "height", state.aligned], ["columns", "left", "width", state.scored]]) {
    Object.assign(byId(id).style, { [start]: share(first), [size]: share(last + 1 - first) });
  }
}

// The residues [aligned on, scored] under the pointer.
function placeOnMap(event) {
  const edges = byId("pae").getBoundingClientRect();
  return [residueAt(event.clientY, edges.top, edges.height), residueAt(event.clientX, edges.left, edges.width)];
}

async function readMap(event) {
  const [i, j] = placeOnMap(event);
  const value = (await paeOf(state.rank))[block(i) * blocks + block(j)] * data.paeStep;
  byId("map-readout").textContent = `aligned on ${residue(i)}, scored ${residue(j)}: ${value.toFixed(1)} Å`;
}

async function meanPae() {
  if (prediction().pae === null) return null;
  const [values, [[top, bottom], [left, right]]] = [await paeOf(state.rank), [state.aligned, state.scored]];
  let sum = 0;
  for (let i = top; i <= bottom; i += 1) for (let j = left; j <= right; j += 1) sum += values[block(i) * blocks + block(j)];
  return sum * data.paeStep / (bottom + 1 - top) / (right + 1 - left);
}

on("rank", () => drawing(drawMap()));
on("selection", drawBox);
onDrag(byId("pae"), placeOnMap, ([i, j], [k, l]) => select(ordered(i, k), ordered(j, l)));
byId("pae").addEventListener("pointermove", readMap);
byId("map-blocks").hidden = data.paeBlock === 1;
byId("map-blocks").textContent = `Shown at 1 in ${data.paeBlock}: each point is the mean of ${data.paeBlock} × ${data.paeBlock} pairs of residues.`;
byId("scale").style.background = `linear-gradient(to right, ${GREENS.join(", ")})`;
for (const [, first] of data.chains.slice(1)) {
  for (const side of ["left", "top"]) {
    const border = element("i", { className: `border ${side}` });
    border.style[side] = `${100 * first / length}%`;
    byId("map").append(border);
  }
}
for (const [i, value] of ticks(6)) {
  const place = `${100 * (i + 0.5) / length}%`;
  byId("map-ticks-x").append(Object.assign(element("span", { textContent: value })));
  byId("map-ticks-x").lastChild.style.left = place;
  byId("map-ticks-y").append(element("span", { textContent: value }));
  byId("map-ticks-y").lastChild.style.top = place;
}
