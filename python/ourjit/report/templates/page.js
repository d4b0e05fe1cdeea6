"use strict";
const graphs = JSON.parse(document.getElementById("nodes").textContent);
const find = (selector) => document.querySelector(selector);

function element(tag, text, parent) {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
}

// Pan by dragging, zoom by wheel: both change the viewBox.
for (const svg of document.querySelectorAll("svg.graph")) {
  const whole = svg.viewBox.baseVal, home = [whole.x, whole.y, whole.width, whole.height];
  let box = [...home], from = null, moved = false;
  const show = () => svg.setAttribute("viewBox", box.join(" "));
  const scale = () => Math.max(box[2] / svg.clientWidth, box[3] / svg.clientHeight);
  const fit = () => { box = [...home]; show(); };
  // A large graph is too small to read as a whole: begin in its upper left corner.
  const readable = () => {
    const wide = Math.min(Math.max(home[2], 500), svg.clientWidth * 1.5);
    box = [home[0], home[1], wide, wide * svg.clientHeight / svg.clientWidth];
    show();
  };
  readable();
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const factor = event.deltaY > 0 ? 1.15 : 1 / 1.15, area = svg.getBoundingClientRect();
    const s = scale(), x = box[0] + box[2] / 2 + (event.clientX - area.x - area.width / 2) * s;
    const y = box[1] + box[3] / 2 + (event.clientY - area.y - area.height / 2) * s;
    box = [x - (x - box[0]) * factor, y - (y - box[1]) * factor, box[2] * factor, box[3] * factor];
    show();
  }, { passive: false });
  svg.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; moved = false; });
  svg.addEventListener("pointermove", (event) => {
    if (!from || !event.buttons) return;
    const s = scale(), dx = event.clientX - from[0], dy = event.clientY - from[1];
    if (!moved && Math.abs(dx) + Math.abs(dy) < 4) return;
    moved = true;
    box[0] -= dx * s; box[1] -= dy * s;
    from = [event.clientX, event.clientY];
    show();
  });
  addEventListener("pointerup", () => { from = null; });
  svg.addEventListener("click", (event) => {
    const hit = event.target.closest("[data-node], [data-step]");
    if (hit && !moved) select(svg, hit);
  });
  const buttons = svg.closest("section").querySelectorAll("button[data-zoom]");
  for (const button of buttons) button.onclick = button.dataset.zoom === "all" ? fit : readable;
}

function select(svg, hit) {
  for (const old of svg.querySelectorAll(".on")) old.classList.remove("on");
  hit.classList.add("on");
  const side = svg.closest("section").querySelector(".side");
  side.replaceChildren();
  const [graph, number] = (hit.dataset.node ?? hit.dataset.step).split(":");
  const node = hit.dataset.node ? graphs[graph].nodes[number] : null;
  const at = node ? node.step : Number(number), step = graphs[graph].steps[at];
  if (node) element("pre", node.text, side);
  if (step) {
    const link = element("a", `step ${at}: ${step.name}`, element("p", "", side));
    link.href = step.kernel === null ? `#g${graph}-step${at}` : `#g${graph}-k${step.kernel}`;
    element("p", `${step.kernel === null ? "library call" : "kernel"}, ${step.seconds}`, side).className = "dim";
  } else {
    element("p", "views, or index arithmetic of the kernels that read it", side).className = "dim";
  }
  for (const line of (node ?? step ?? { lines: [] }).lines) {
    element("p", line.loc, side).className = "dim";
    if (line.text) element("pre", line.text, side);
  }
}

// A click on a bar of the flame chart makes it as wide as the chart; one on a bar of full width shows all again.
for (const svg of document.querySelectorAll("svg.flame")) {
  const bars = [...svg.querySelectorAll("[data-bar]")].map((bar) => {
    const [x, wide] = bar.dataset.bar.split(" ").map(Number);
    return { x, wide, name: bar.dataset.name, bar };
  });
  const show = (from, width) => {
    const factor = 1000 / width;
    for (const { x, wide, name, bar } of bars) {
      const left = Math.max(0, (x - from) * factor), right = Math.min(1000, (x + wide - from) * factor);
      const [rect, label, title] = bar.children, room = right - left;
      bar.style.display = room > 0.02 ? "" : "none";
      rect.setAttribute("x", left);
      rect.setAttribute("width", Math.max(0, room));
      label.setAttribute("x", left + 4);
      const fits = (text) => room > text.length * 6.8;
      label.textContent = fits(title.textContent) ? title.textContent : fits(name) ? name : "";
    }
  };
  let shown = null;
  for (const entry of bars) {
    entry.bar.addEventListener("click", () => {
      shown = shown === entry ? null : entry;
      if (shown) show(entry.x, Math.max(entry.wide, 0.01)); else show(0, 1000);
    });
  }
}

// A link to a kernel opens it.
function open() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let outer = target; outer; outer = outer.parentElement) if (outer.tagName === "DETAILS") outer.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", open);
open();
