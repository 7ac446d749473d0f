// Switching between predictions, and the selection in words and by keyboard.

for (const choice of document.querySelectorAll("input[name=rank]")) {
  choice.addEventListener("change", () => showRank(Number(choice.value)));
  const picture = choice.parentElement.querySelector("canvas");
  if (picture) drawing(paint(picture, Number(choice.value), Math.min(length, 96)));
}

async function describe() {
  byId("aligned").value = state.aligned ? written(state.aligned) : "";
  byId("scored").value = state.scored ? written(state.scored) : "";
  if (!state.aligned) {
    byId("selected").textContent = "Nothing is selected. Drag over a plot, or type residue numbers.";
    return;
  }
  const error = await meanPae();
  const count = (range) => range[1] + 1 - range[0];
  const confidence = (range) => mean(prediction().plddt.slice(range[0], range[1] + 1)).toFixed(1);
  const kinds = sameRange() ? [["", state.aligned]] : [["aligned on ", state.aligned], ["scored ", state.scored]];
  const parts = kinds.map(([kind, range]) => `${kind}${written(range)} (${count(range)} residue${count(range) > 1 ? "s" : ""}, mean pLDDT ${confidence(range)})`);
  if (error !== null) parts.push(`mean expected error ${error.toFixed(1)} Å`);
  byId("selected").textContent = parts.join("; ") + ".";
}

// [first, last] of "12" or "12-30", of a complex "B", "B:12", "B:12-30" or "A:5-B:3"; null for an empty field,
// undefined for anything else.
function parsed(text) {
  if (!text.trim()) return null;
  const whole = data.chains.find(([name]) => name === text.trim());
  if (whole) return whole.slice(1);
  const found = /^\s*(?:(\w+):)?(\d+)\s*(?:[-–:]\s*(?:(\w+):)?(\d+)\s*)?$/.exec(text);
  if (!found) return undefined;
  const [, chain, first, lastChain = chain, last = first] = found;
  const ends = [[chain, first], [lastChain, last]].map(([name, value]) => indexOf.get(name ? `${name}:${Number(value)}` : `${Number(value)}`));
  return ends.includes(undefined) ? undefined : ordered(...ends);
}

function typed() {
  const ranges = ["aligned", "scored"].map((id) => parsed(byId(id).value));
  ["aligned", "scored"].forEach((id, k) => byId(id).setAttribute("aria-invalid", ranges[k] === undefined));
  if (ranges.includes(undefined)) {
    const example = data.chains.length ? `${number(0)} or ${written([0, data.chains[0][2]])}` : "5 or 5-20";
    byId("selected").textContent = `Give residues from ${number(0)} to ${number(length - 1)}, such as ${example}.`;
    return;
  }
  const [aligned, scored] = byId("scored-label").hidden ? [ranges[0], ranges[0]] : ranges;
  select(aligned ?? scored, scored ?? aligned);
}

on("rank selection", () => drawing(describe()));
byId("selection").addEventListener("change", typed);
byId("selection").addEventListener("submit", (event) => { event.preventDefault(); typed(); });
byId("selection").addEventListener("reset", () => select(null, null));
document.addEventListener("keydown", (event) => { if (event.key === "Escape") select(null, null); });
showRank(0);
