"""What a browser does by itself: how the page looks, clicks and keys, and the cross."""

# Clicks are answered in pixels of the picture; labels fade and the cross moves without asking anybody.
SCRIPT = """
const choose = (stack, x, y) => {
  const width = +stack.dataset.width, height = +stack.dataset.height;
  x = Math.min(Math.max(x, 0), width - 1); y = Math.min(Math.max(y, 0), height - 1);
  trigger('click', {x: x, y: y});
};
element.addEventListener('click', event => {
  const scene = event.target.closest('[data-scene]'), stack = event.target.closest('.stack');
  if (scene) { trigger('click', {scene: +scene.dataset.scene}); return; }
  if (!stack) return;
  const box = stack.getBoundingClientRect();
  choose(stack, Math.floor((event.clientX - box.left) / box.width * stack.dataset.width),
                Math.floor((event.clientY - box.top) / box.height * stack.dataset.height));
});
element.addEventListener('keydown', event => {
  const stack = event.target.closest('.stack');
  const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (!stack || !move) return;
  event.preventDefault();
  const step = Math.max(1, Math.round(stack.dataset.width / 24));
  choose(stack, +(stack.dataset.x ?? stack.dataset.width / 2) + step * move[0],
                +(stack.dataset.y ?? stack.dataset.height / 2) + step * move[1]);
});
element.addEventListener('input', event => {
  if (!event.target.matches('.slider input')) return;
  event.stopPropagation();
  element.querySelector('.labels').style.opacity = event.target.value / 100;
});
"""

# A point that was chosen in one picture is marked in both.
MARK = """
(x, y) => document.querySelectorAll('.stack').forEach(stack => {
  const cross = stack.querySelector('.cross');
  cross.hidden = x < 0; stack.dataset.x = x; stack.dataset.y = y;
  cross.style.left = 100 * (x + 0.5) / stack.dataset.width + '%';
  cross.style.top = 100 * (y + 0.5) / stack.dataset.height + '%';
})
"""

STYLE = """
.stack { position: relative; line-height: 0; cursor: crosshair; touch-action: manipulation; }
.stack img { width: 100%; display: block; margin: 0; border-radius: 4px; }
.stack .labels { position: absolute; inset: 0; height: 100%; opacity: 0.5; image-rendering: pixelated; }
.stack .cross { position: absolute; width: 22px; height: 22px; margin: -11px 0 0 -11px; pointer-events: none;
  background: linear-gradient(red, red) center / 3px 100% no-repeat,
    linear-gradient(red, red) center / 100% 3px no-repeat;
  filter: drop-shadow(0 0 1px black) drop-shadow(0 0 1px black); }
.slider { display: flex; gap: 0.6em; align-items: center; margin: 0.5em 0; }
.slider input { flex: 1; min-height: 28px; }
.legend { display: flex; flex-wrap: wrap; gap: 0.3em 1em; list-style: none; padding: 0; margin: 0; }
.legend li { display: flex; align-items: center; gap: 0.4em; margin: 0; }
.swatch { width: 1em; height: 1em; border: 1px solid currentColor; flex: none; }
.probabilities { width: 100%; border-collapse: collapse; margin: 0.5em 0; }
.probabilities caption { text-align: left; font-weight: 600; }
.probabilities th { text-align: left; font-weight: 400; white-space: nowrap; }
.probabilities :is(th, td) { padding: 0.1em 0.6em 0.1em 0; border: 0; line-height: 1.2; }
.probabilities td { white-space: nowrap; }
.name { font-weight: 600; margin: 0 0 0.3em; overflow-wrap: anywhere; }
.sentence { margin: 0.5em 0; }
.probabilities td:nth-child(2) { width: 100%; }
.bar { display: block; height: 0.9em; min-width: 1px; border: 1px solid currentColor; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(46%, 220px), 1fr)); gap: 0.6em; }
.panels figure { margin: 0; }
.panels img { width: 100%; display: block; margin: 0; border-radius: 4px; }
.panels figcaption { font-size: 0.85em; line-height: 1.3; }
.scenes { display: flex; flex-wrap: wrap; gap: 0.4em; }
.scenes button { padding: 0; border: 1px solid currentColor; border-radius: 4px; line-height: 0; cursor: pointer; }
.scenes img { width: 64px; height: 64px; object-fit: cover; margin: 0; border-radius: 3px; }
.refusal { padding: 0.6em 0.8em; border-left: 4px solid #c2410c; background: rgba(194, 65, 12, 0.12); }
"""

CSS = STYLE.replace("\n.", "\n.gradio-container .")
"""Before gradio's own rules."""
