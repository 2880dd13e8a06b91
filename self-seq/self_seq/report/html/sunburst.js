// Tells below each sunburst what the finger, the pointer or the tab key is on; without a script the pieces' titles do.
for (const drawing of document.querySelectorAll(".sunburst")) {
  const told = drawing.closest("figure").querySelector("output");
  const tell = (event) => {
    const piece = event.target.closest(".piece");
    if (piece) told.textContent = piece.querySelector("title").textContent;
  };
  for (const kind of ["pointerover", "click", "focusin"]) drawing.addEventListener(kind, tell);
}
