"use strict";
// Sorts the gallery: numbers from the largest, names from A; a second click reverses the order.
const list = document.getElementById("tiles");
const message = document.getElementById("sorted");
const buttons = [...document.querySelectorAll("button[data-sort]")];

function compare(key, descending) {
  return (one, other) => {
    const a = one.dataset[key], b = other.dataset[key];
    if (a === "" || b === "") return (a === "") - (b === ""); // not measured: last in either order
    const order = key === "name" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return descending ? -order : order;
  };
}

function sort(button) {
  const key = button.dataset.sort;
  const again = button.getAttribute("aria-pressed") === "true";
  const descending = again ? list.dataset.descending !== "true" : key !== "name";
  list.dataset.descending = descending;
  list.append(...[...list.children].sort(compare(key, descending)));
  buttons.forEach((each) => each.setAttribute("aria-pressed", each === button));
  message.textContent = `Sorted by ${button.textContent}, ${descending ? "descending" : "ascending"}.`;
}

buttons.forEach((button) => button.addEventListener("click", () => sort(button)));
