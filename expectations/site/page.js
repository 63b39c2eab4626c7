// What the pages of Great Expectations use jQuery and Bootstrap for: the filter, and sections that open.
"use strict";

function succeeded() {
  const rows = [...document.querySelectorAll(".hide-succeeded-validation-target-child")].map((one) => one.closest("tr") || one.parentElement);
  const sections = [...document.querySelectorAll(".hide-succeeded-validations-column-section-target-child")].map((one) => one.closest(".ge-section"));
  return [...rows, ...document.querySelectorAll(".hide-succeeded-validation-target"), ...sections].filter(Boolean);
}

function hideSucceededValidations() {
  succeeded().forEach((one) => one.classList.add("hidden"));
}

function showAllValidations() {
  succeeded().forEach((one) => one.classList.remove("hidden"));
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest('[data-toggle="collapse"]');
  if (!opener) return;
  event.preventDefault();
  const section = document.querySelector(opener.dataset.target || opener.getAttribute("href"));
  if (section) opener.setAttribute("aria-expanded", section.classList.toggle("show"));
});
