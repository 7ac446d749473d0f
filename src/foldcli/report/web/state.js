"use strict";
// What the page shows, and what is selected in it. Residues are counted from 0 here and by their numbers on the page,
// which of a complex begin with their chain: B:12.

const data = JSON.parse(document.getElementById("data").textContent);
const length = data.sequence.length;
const byId = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const NAMES = Object.fromEntries(("A Ala,R Arg,N Asn,D Asp,C Cys,Q Gln,E Glu,G Gly,H His,I Ile,L Leu,K Lys,M Met," +
  "F Phe,P Pro,S Ser,T Thr,W Trp,Y Tyr,V Val,X Unk").split(",").map((pair) => pair.split(" ")));

// `aligned` and `scored` are [first, last], or both null; events "rank" and "selection" are sent when they change.
// `contacts` are the residues of the interface that was clicked on, null for none.
const state = Object.assign(new EventTarget(), { rank: 0, aligned: null, scored: null, contacts: null });

function showRank(rank) {
  state.rank = rank;
  state.dispatchEvent(new Event("rank"));
}

function select(aligned, scored, contacts = null) {
  Object.assign(state, { aligned, scored, contacts });
  state.dispatchEvent(new Event("selection"));
}

function on(events, listener) {
  for (const event of events.split(" ")) state.addEventListener(event, listener);
}

// The page is busy while anything is being drawn.
let pending = 0;
async function drawing(work) {
  pending += 1;
  document.body.ariaBusy = "true";
  try {
    await work;
  } finally {
    pending -= 1;
    document.body.ariaBusy = String(pending > 0);
  }
}

const prediction = () => data.predictions[state.rank];
const within = (range, i) => range !== null && range[0] <= i && i <= range[1];
const ordered = (a, b) => [Math.min(a, b), Math.max(a, b)];
const sameRange = () => String(state.aligned) === String(state.scored);
// data.chains: [name, first, last] of each chain of a complex, none for a single chain.
const chainOf = (i) => data.chains.findIndex(([, first, last]) => first <= i && i <= last);
const number = (i) => data.chains.length ? `${data.chains[chainOf(i)][0]}:${data.residues[i]}` : `${data.residues[i]}`;
const written = ([first, last]) => {
  if (first === last) return number(first);
  return `${number(first)}-${data.chains.length && chainOf(first) === chainOf(last) ? data.residues[last] : number(last)}`;
};
const residue = (i) => `${NAMES[data.sequence[i]]} ${number(i)}`;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const bandOf = (plddt) => data.bands.find(([low]) => plddt >= low);

async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Each rank's PAE bytes, unpacked once: [aligned on, scored], in steps of data.paeStep; a
// byte for each block of data.paeBlock x data.paeBlock pairs.
const unpacked = new Map();
function paeOf(rank) {
  if (!unpacked.has(rank)) unpacked.set(rank, inflated(data.predictions[rank].pae));
  return unpacked.get(rank);
}

// Calls `moved(start, now)` while a pointer is held down on an element; `place` turns an event into residues.
function onDrag(element, place, moved) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const start = place(event);
    const follow = (next) => moved(start, place(next));
    element.setPointerCapture(event.pointerId);
    element.addEventListener("pointermove", follow);
    element.addEventListener("lostpointercapture", () => element.removeEventListener("pointermove", follow), { once: true });
    moved(start, start);
  });
}

function residueAt(position, start, size) {
  return Math.max(0, Math.min(length - 1, Math.floor((position - start) / size * length)));
}

// About `most` residues at round numbers, as [index, number].
function ticks(most) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((size) => length / size <= most);
  return data.residues.map((value, i) => [i, value]).filter(([, value]) => value % step === 0)
    .map(([i, value]) => [i, data.chains.length ? number(i) : value]);
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
