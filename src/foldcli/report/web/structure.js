// The structure in 3D, coloured by pLDDT, by chain or by the selection.

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
// Okabe and Ito's palette, which those who see few colours tell apart; further chains have its colours again.
const CHAIN_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8a8a8a"];
const chainColour = (chain) => CHAIN_COLOURS[chain % CHAIN_COLOURS.length];
const indexOf = new Map(data.residues.map((value, i) => [number(i), i]));
const residueOf = (atom) => indexOf.get(data.chains.length ? `${atom.chain}:${atom.resi}` : `${atom.resi}`);
const byChain = () => byId("colour-chain").checked;
const texts = new Map();

async function textOf(rank) {
  if (!texts.has(rank)) texts.set(rank, new TextDecoder().decode(await inflated(data.predictions[rank].text)));
  return texts.get(rank);
}

function residueColour(i) {
  const [aligned, scored] = [within(state.aligned, i), within(state.scored, i)];
  if (state.aligned && !aligned && !scored) return colour("--unselected");
  if (!state.aligned || sameRange()) return byChain() ? chainColour(chainOf(i)) : bandOf(prediction().plddt[i])[2];
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

// Bonds each CA with the next one of its chain only.
function join(atoms) {
  atoms.forEach((atom, k) => {
    atom.bonds = [atoms[k - 1], atoms[k + 1]].filter((other) => other?.chain === atom.chain).map((other) => other.index);
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
  const painted = data.residues.map((_, i) => residueColour(i));
  const colorfunc = (atom) => painted[residueOf(atom)];
  const sticks = { stick: { radius: 0.16, colorfunc } };
  model.setStyle({}, model.shape === "sticks" ? sticks : {});
  if (model.shape === "trace") model.setStyle({ atom: "CA" }, { stick: { radius: 0.4, colorfunc } });
  if (model.shape !== "ribbon") return;
  model.setStyle({}, { cartoon: { colorfunc, arrows: true, thickness: 0.4 } });
  const chosen = state.contacts ?? [...painted.keys()].filter((i) => within(state.aligned, i) || within(state.scored, i));
  if (chosen.length && (state.contacts || chosen.length <= MOST_STICKS)) model.setStyle(atomsOf(chosen), sticks, true);
}

const atomsOf = (residues) => {
  const wanted = new Set(residues);
  return { predicate: (atom) => wanted.has(residueOf(atom)) };
};

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
  viewer.setClickable({}, true, (atom) => select(...Array(2).fill(Array(2).fill(residueOf(atom)))));
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
  const i = residueOf(atom);
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
    if (state.contacts) inTurn(() => viewer.zoomTo({ model: shown.get(state.rank), ...atomsOf(state.contacts) }));
  });
  byId("colours").addEventListener("change", () => inTurn(dressAll));
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

function drawLegend() {
  const bands = data.bands.map(([low, high, fill, name]) =>
    [fill, `${name} (${low ? (high === 100 ? `≥ ${low}` : `${low}–${high}`) : `< ${high}`})`]);
  const entries = byChain() ? data.chains.map(([name], k) => [chainColour(k), name]) : bands;
  byId("legend").replaceChildren(...entries.map(([fill, text]) =>
    element("span", {}, Object.assign(element("i", { className: "dot" }), { style: `background:${fill}` }), text)));
}

byId("colours").hidden = !data.chains.length;
byId("colour-chain").checked = Boolean(data.chains.length);
byId("colours").addEventListener("change", drawLegend);
drawLegend();
