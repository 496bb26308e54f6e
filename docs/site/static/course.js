// No flash of another theme: the theme's own program, which reads the system's wish, comes last on a page.
const root = document.documentElement;
if (!["light", "dark"].includes(root.dataset.theme))
  root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

// What the theme's pages don't say to screen readers yet.
document.addEventListener("DOMContentLoaded", () => {
  // These two have words of their own; a name that hides them can't be said to a computer that listens.
  document.querySelectorAll("summary[aria-label], .search-button-field").forEach(e => e.removeAttribute("aria-label"));
  const side = document.getElementById("pst-primary-sidebar");
  side?.setAttribute("role", "navigation");
  side?.setAttribute("aria-label", "Site");
});
