// The structure in 3D, coloured by pLDDT or by the selection.

const viewer = (() => {
  try {
    return $3Dmol.createViewer(byId("viewer"), { backgroundAlpha: 0, disableFog: true, antialias: true, cartoonQuality: 12 });
  } catch {
    byId("viewer").textContent = "This browser offers no WebGL, which the drawing needs. The files of the job have the structure.";
    byId("viewer").classList.add("missing");
    return null;
  }
})();
const UPRIGHT = [0, 0, 0, 0, 0, 0, 0, 1];
const MOST_STICKS = 60;
const indexOf = new Map(data.residues.map((value, i) => [value, i]));
const texts = new Map();

async function textOf(rank) {
  if (!texts.has(rank)) texts.set(rank, new TextDecoder().decode(await inflated(data.predictions[rank].text)));
  return texts.get(rank);
}

function residueColour(i) {
  const [aligned, scored] = [within(state.aligned, i), within(state.scored, i)];
  if (state.aligned && !aligned && !scored) return colour("--unselected");
  if (!state.aligned || sameRange()) return bandOf(prediction().plddt[i])[2];
  return colour(aligned && scored ? "--both" : aligned ? "--aligned" : "--scored");
}

// A ribbon needs CA and O of most residues and a chain without breaks; a trace needs only CA.
function shape(atoms) {
  const [chain, oxygens] = ["CA", "O"].map((name) => atoms.filter((atom) => atom.atom === name));
  if (chain.length < 3) return "sticks";
  const steps = chain.slice(1).map((atom, k) => Math.hypot(atom.x - chain[k].x, atom.y - chain[k].y, atom.z - chain[k].z));
  const joined = steps.filter((step) => 2.5 < step && step < 4.5);
  return oxygens.length >= 0.8 * chain.length && joined.length >= 0.8 * steps.length ? "ribbon" : "trace";
}

// Bonds each CA with the next one only.
function join(chain) {
  chain.forEach((atom, k) => {
    atom.bonds = [chain[k - 1], chain[k + 1]].filter(Boolean).map((other) => other.index);
    atom.bondOrder = atom.bonds.map(() => 1);
  });
}

async function load(rank) {
  const { format, motion } = data.predictions[rank];
  const model = viewer.addModel(await textOf(rank), format);
  for (const atom of model.selectedAtoms({})) {
    [atom.x, atom.y, atom.z] = motion.map(([x, y, z, shift]) => x * atom.x + y * atom.y + z * atom.z + shift);
  }
  model.shape = shape(model.selectedAtoms({}));
  if (model.shape === "trace") join(model.selectedAtoms({ atom: "CA" }));
  return model;
}

// The chosen rank, in colour, with side chains if few residues are selected.
function dress(model) {
  const painted = new Map(data.residues.map((value, i) => [value, residueColour(i)]));
  const colorfunc = (atom) => painted.get(atom.resi);
  const sticks = { stick: { radius: 0.16, colorfunc } };
  model.setStyle({}, model.shape === "sticks" ? sticks : {});
  if (model.shape === "trace") model.setStyle({ atom: "CA" }, { stick: { radius: 0.4, colorfunc } });
  if (model.shape !== "ribbon") return;
  model.setStyle({}, { cartoon: { colorfunc, arrows: true, thickness: 0.4 } });
  const chosen = data.residues.filter((_, i) => within(state.aligned, i) || within(state.scored, i));
  if (chosen.length && chosen.length <= MOST_STICKS) model.setStyle({ resi: chosen }, sticks, true);
}

// Zooms until the chain just fits; zoomTo alone leaves room for its bounding sphere, by the view's height.
function centre() {
  const { clientWidth, clientHeight } = byId("viewer");
  const atoms = shown.get(state.rank).selectedAtoms({});
  const [sphere, width, height] = [({ x, y, z }) => Math.hypot(x, y, z), ({ x }) => Math.abs(x), ({ y }) => Math.abs(y)]
    .map((reach) => Math.max(...atoms.map(reach)) + 2);
  viewer.setView(UPRIGHT);
  viewer.zoomTo();
  viewer.zoom(0.9 * sphere / Math.max(height, width * clientHeight / clientWidth));
}

let shown = new Map();
async function drawRank() {
  const others = byId("overlay").checked ? data.predictions.keys() : [];
  const models = new Map();
  const [wanted, fresh] = [new Set([state.rank, ...others]), !shown.size];
  for (const rank of wanted) models.set(rank, shown.get(rank) ?? await load(rank));
  for (const [rank, model] of shown) if (!wanted.has(rank)) viewer.removeModel(model);
  shown = models;
  dressAll();
  if (fresh) centre();
  viewer.setHoverable({}, true, point, () => { byId("pointed").textContent = ""; });
  viewer.setClickable({}, true, (atom) => select(...Array(2).fill(Array(2).fill(indexOf.get(atom.resi)))));
  viewer.render();
}

function dressAll() {
  for (const [rank, model] of shown) {
    if (rank === state.rank) dress(model);
    else dressBehind(model);
  }
  viewer.render();
}

function dressBehind(model) {
  const color = colour("--unselected");
  model.setStyle({}, model.shape === "ribbon" ? { cartoon: { style: "trace", color, thickness: 0.25 } } : {});
  if (model.shape !== "ribbon") model.setStyle({ atom: "CA" }, { stick: { radius: 0.15, color } });
}

function point(atom) {
  const i = indexOf.get(atom.resi);
  byId("pointed").textContent = `${residue(i)}, pLDDT ${prediction().plddt[i].toFixed(1)}`;
}

if (viewer) {
  let [last, asked] = [Promise.resolve(), 0];
  const inTurn = (work) => { last = last.then(work); drawing(last); };
  const pause = () => new Promise((after) => { setTimeout(after, 60); });
  on("rank", () => inTurn(drawRank));
  on("selection", () => {  // while a pointer moves, draw only its latest position
    const mine = asked += 1;
    drawing(pause().then(() => mine === asked && inTurn(dressAll)));
  });
  byId("overlay").addEventListener("change", () => inTurn(drawRank));
  byId("overlay-label").hidden = data.predictions.length < 2;
  byId("centre").addEventListener("click", centre);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => inTurn(dressAll));
  new ResizeObserver(() => viewer.resize()).observe(byId("viewer"));
}

byId("save").addEventListener("click", async () => {
  const href = URL.createObjectURL(new Blob([await textOf(state.rank)], { type: "text/plain" }));
  element("a", { href, download: prediction().file }).click();
  URL.revokeObjectURL(href);
});

byId("legend").append(...data.bands.map(([low, high, fill, name]) =>
  element("span", {}, Object.assign(element("i", { className: "dot" }), { style: `background:${fill}` }),
    `${name} (${low ? (high === 100 ? `≥ ${low}` : `${low}–${high}`) : `< ${high}`})`)));
