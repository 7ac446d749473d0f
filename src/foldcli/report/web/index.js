"use strict";
// Sorts the jobs by a column, numbers by value; a second click reverses the order; empty cells come last.

const body = document.querySelector("tbody");
const heads = [...document.querySelectorAll("th")];

function compare(a, b) {
  const numbers = [Number(a), Number(b)];
  return numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
}

function sort(column) {
  const up = heads[column].ariaSort !== "ascending";
  const rows = [...body.rows].map((row) => [row.cells[column].textContent, row]);
  rows.sort(([a], [b]) => (a === "") - (b === "") || (up ? 1 : -1) * compare(a, b));
  heads.forEach((head, k) => { head.ariaSort = k === column ? (up ? "ascending" : "descending") : "none"; });
  body.append(...rows.map(([, row]) => row));
}

heads.forEach((head, column) => head.firstChild.addEventListener("click", () => sort(column)));
