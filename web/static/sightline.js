// Progressive enhancement only: everything works without this file.
import { initAll } from "./govuk.js";
initAll();
// The waiting page presses its own button once the ledger has answered.
document.body.addEventListener("answered", () => {
  document.querySelector("[data-check-again]")?.requestSubmit();
});
