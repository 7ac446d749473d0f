// The table of a complex's interfaces: a click on one shows it in 3D and on the map.

const score = (value) => value.toFixed(2);
const INTERFACES = [
  ["ipTM", "ipTM of the two chains, 0 to 1", (one) => score(one.iptm)],
  ["ipSAE", "the larger of both directions, 0 to 1", (one) => score(one.ipsae)],
  ["pDockQ", "0 to 1", (one) => score(one.pdockq)],
  ["pDockQ2", "the larger of both directions, 0 to 1", (one) => score(one.pdockq2)],
  ["least PAE", "smallest aligned error between the chains, in Å", (one) => one.paeMin.toFixed(1)],
  ["contacts", "pairs of residues whose CB are within 8 Å", (one) => one.contacts.toLocaleString("en")],
];
const CHAINS = [
  ["residues", "", (one, k) => data.chains[k][2] - data.chains[k][1] + 1],
  ["pLDDT", "mean over the chain", (one) => one.plddt.toFixed(1)],
  ["pTM", "of the chain alone, 0 to 1", (one) => score(one.ptm)],
];

function fill(table, first, columns, rows) {
  const heads = [["", ""], ...columns].map(([textContent, title]) => element("th", { scope: "col", textContent, title }));
  heads[0].textContent = first;
  const lines = rows.map(([head, ...cells]) => element("tr", {}, element("th", { scope: "row" }, head),
    ...cells.map((textContent) => element("td", { textContent }))));
  table.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines));
}

function interfaceButton(one) {
  const [a, b] = [data.chains[one.pair[0]], data.chains[one.pair[1]]];
  const button = element("button", { type: "button", textContent: `${a[0]} – ${b[0]}`, ariaPressed: "false" });
  button.addEventListener("click", () => {
    select(a.slice(1), b.slice(1), one.residues.length ? one.residues : null);
    button.ariaPressed = "true";
    byId("viewer").scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
  return button;
}

function drawInterfaces() {
  const { chains, interfaces } = prediction();
  byId("interfaces-card").hidden = interfaces === null;
  if (interfaces === null) return;
  fill(byId("interfaces"), "chains", INTERFACES,
    interfaces.map((one) => [interfaceButton(one), ...INTERFACES.map(([, , value]) => value(one))]));
  fill(byId("chains"), "chain", CHAINS, chains.map((one, k) => [data.chains[k][0], ...CHAINS.map(([, , value]) => value(one, k))]));
}

if (data.chains.length) {
  byId("aligned").placeholder = "e.g. A:5-20";
  byId("scored").placeholder = "e.g. B:30-45";
  on("selection", () => byId("interfaces").querySelectorAll("button").forEach((one) => { one.ariaPressed = "false"; }));
  on("rank", drawInterfaces);
}
