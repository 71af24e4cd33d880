"use strict";
// Sorts the gallery: numbers from the largest, names from A; a second click turns it round.
const list = document.getElementById("tiles");
const said = document.getElementById("sorted");
const buttons = [...document.querySelectorAll("button[data-sort]")];

function compare(key, falling) {
  return (one, other) => {
    const a = one.dataset[key], b = other.dataset[key];
    if (a === "" || b === "") return (a === "") - (b === ""); // not measured: always last
    const order = key === "name" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return falling ? -order : order;
  };
}

function sort(button) {
  const key = button.dataset.sort;
  const again = button.getAttribute("aria-pressed") === "true";
  const falling = again ? list.dataset.falling !== "true" : key !== "name";
  list.dataset.falling = falling;
  list.append(...[...list.children].sort(compare(key, falling)));
  buttons.forEach((each) => each.setAttribute("aria-pressed", each === button));
  said.textContent = `Sorted by ${button.textContent}, ${falling ? "falling" : "rising"}.`;
}

buttons.forEach((button) => button.addEventListener("click", () => sort(button)));
