/* Draws the ranks of a question window by window (streamproof/dashboard/ranks.py): bars that move and a map with marks.
   The page and the reports use it alike; it asks nothing of any network. */

(() => {
  const STEP_MS = 1000, MOVE_MS = 600;
  const SIGNS = { right: ["✓", "right"], wrong: ["✕", "wrong"], extra: ["✕", "should not be there"],
                  doubled: ["✕", "written twice"], open: ["…", "not judged yet"] };
  const stateOf = verdict => ({ right: "good", open: "open" })[verdict] || "bad";
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /* What the address names: a question, a window's end and the values of a key; null where it names no rows. */
  function opened() {
    try {
      return location.hash.startsWith("#rows=") ? JSON.parse(decodeURIComponent(location.hash.slice(6))) : null;
    } catch { return null; }
  }

  class Ranks {
    constructor(root) {
      this.bars = new Map();
      this.at = -1;
      this.follows = true;  // the newest window, when there is one
      this.timer = null;
      this.play = make("button", { type: "button", class: "play" });
      this.slider = make("input", { type: "range", min: 0, step: 1, "aria-label": "window" });
      this.when = make("p", { class: "when" });
      this.verdict = make("p", { class: "window-verdict" });
      this.list = make("ol", { class: "bars" });
      this.map = new WorldMap();
      this.body = make("div", { class: "ranks-body" }, this.map.element, this.list);
      this.root = root;
      this.rows = make("div", { "aria-live": "polite" });  // in a report; a page has a place for them
      root.replaceChildren(
        make("div", { class: "ranks-head" }, this.play, this.slider, this.when, this.verdict), this.body, this.rows);
      this.play.onclick = () => this.toggle();
      this.slider.oninput = () => {
        this.stop();
        this.follows = this.slider.value === this.slider.max;
        this.show(Number(this.slider.value));
      };
      root.addEventListener("keydown", event => {
        if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); this.toggle(); }
      });
      addEventListener("hashchange", () => this.point());
      new ResizeObserver(() => this.map.resize()).observe(this.map.element);
    }

    /* Takes what is drawn; stays at the window that was shown, or goes on to the newest. */
    update(scene) {
      const isOther = !this.scene || scene.question !== this.scene.question || scene.value !== this.scene.value;
      const end = isOther ? null : this.scene.frames[this.at]?.[0];
      if (isOther) { this.stop(); this.follows = true; }
      this.scene = scene;
      this.body.classList.toggle("with-map", scene.hasMap);
      this.map.element.hidden = !scene.hasMap;
      this.slider.max = Math.max(0, scene.frames.length - 1);
      this.most = Math.max(...scene.frames.flatMap(([, , , , marks]) => marks.map(mark => Math.abs(mark[1]))), 0) || 1;
      if (scene.hasMap) this.map.update(scene, this.most);
      const same = scene.frames.findIndex(frame => frame[0] >= end);
      this.show(this.follows && !this.timer || end === null || same < 0 ? scene.frames.length - 1 : same);
    }

    get isMoving() {
      return this.timer !== null || this.follows && !this.scene.isSaved;
    }

    toggle() {
      if (this.isMoving) { this.stop(); this.follows = false; this.say(); return; }
      const last = this.scene.frames.length - 1;
      if (this.at >= last) this.show(0);
      this.timer = setInterval(() => {
        if (this.at >= this.scene.frames.length - 1) { this.stop(); this.follows = true; this.say(); }
        else this.show(this.at + 1);
      }, STEP_MS);
      this.say();
    }

    stop() {
      clearInterval(this.timer);
      this.timer = null;
    }

    say() {
      this.play.textContent = this.isMoving ? "❚❚ Pause" : "▶ Play";
    }

    show(at) {
      this.at = at;
      const frame = this.scene.frames[at];
      if (!frame) { this.list.replaceChildren(); return; }
      const [end, when, state, verdict, marks] = frame;
      if (!this.timer) this.follows = this.follows && at === this.scene.frames.length - 1;
      this.slider.value = at;
      this.slider.setAttribute("aria-valuetext", when);
      this.when.textContent = when;
      this.verdict.textContent = verdict;
      this.verdict.className = `window-verdict ${state}`;
      const drawn = marks.map(([entity, value, shown, judged]) => {
        const [name, key, latitude, longitude] = this.scene.entities[entity];
        const rows = JSON.stringify([this.scene.question, end, ...key]);
        const link = !this.scene.behind || this.scene.behind[rows] ? `#rows=${encodeURIComponent(rows)}` : null;
        return { name, key, latitude, longitude, value, shown, judged, link };
      });
      this.move(drawn);
      if (this.scene.hasMap) this.map.show(drawn);
      this.point();
      this.say();
    }

    /* Puts the bars into their new order, each from where it was. */
    move(drawn) {
      const isStill = still.matches || document.hidden || !this.list.offsetParent;
      const before = new Map([...this.bars].map(([name, bar]) => [name, bar.getBoundingClientRect().top]));
      const top = this.list.getBoundingClientRect().top;
      const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
      const names = new Set(drawn.map(mark => mark.name));
      for (const [name, bar] of this.bars) if (!names.has(name)) { bar.remove(); this.bars.delete(name); }
      drawn.forEach((mark, place) => {
        const bar = this.bars.get(mark.name) || this.bar(mark.name);
        if (this.list.children[place] !== bar) this.list.insertBefore(bar, this.list.children[place] || null);
        this.fill(bar, mark, place, isStill);
      });
      if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
      const shift = this.list.getBoundingClientRect().top - top;
      if (!isStill) for (const [name, bar] of this.bars) {
        const way = before.has(name) ? before.get(name) + shift - bar.getBoundingClientRect().top : 0;
        if (!before.has(name)) bar.animate([{ opacity: 0 }, { opacity: 1 }], MOVE_MS);
        else if (way) bar.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }],
                                  { duration: MOVE_MS, easing: "ease-in-out" });
      }
    }

    bar(name) {
      const bar = make("li", {}, make("a", {}, make("span", { class: "place" }), make("span", { class: "name" }),
        make("span", { class: "track" }, make("span", { class: "fill" })), make("span", { class: "amount" }),
        make("span", { class: "sign" })));
      this.bars.set(name, bar);
      return bar;
    }

    fill(bar, mark, place, isStill) {
      const link = bar.firstChild, part = name => bar.querySelector(`.${name}`);
      if (mark.link) link.href = mark.link; else link.removeAttribute("href");
      link.dataset.key = JSON.stringify(mark.key);
      part("place").textContent = place + 1;
      part("name").textContent = mark.name;
      part("amount").textContent = mark.shown;
      const [sign, word] = SIGNS[mark.judged];
      part("sign").className = `sign ${stateOf(mark.judged)}`;
      part("sign").replaceChildren(make("span", { "aria-hidden": "true" }, sign), make("span", { class: "unseen" }, ` ${word}`));
      part("sign").title = word;
      const fill = part("fill"), width = `${100 * Math.abs(mark.value) / this.most}%`;
      if (!isStill && fill.style.width && fill.style.width !== width)
        fill.animate([{ width: fill.style.width }, { width }], { duration: MOVE_MS, easing: "ease-in-out" });
      fill.style.width = width;
    }

    /* Marks what is opened, in the list and on the map. */
    point() {
      const [question, , ...key] = opened() || [], rows = this.scene?.behind?.[JSON.stringify(opened())];
      if (rows) drawRows(this.rows, rows);
      const chosen = this.scene && question === this.scene.question ? JSON.stringify(key) : null;
      for (const link of this.root.querySelectorAll("[data-key]"))
        if (link.dataset.key === chosen) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
  }

  /* The world, or as much of it as holds all marks; an equirectangular picture, true to shape at its middle. */
  class WorldMap {
    constructor() {
      this.world = draw("g", { class: "world", "aria-hidden": "true" },
        draw("path", { class: "land", d: worldOutline.land, "fill-rule": "evenodd" }),
        draw("path", { class: "borders", d: worldOutline.borders }));
      this.marks = draw("g");
      this.svg = draw("svg", { role: "group", "aria-label": "map" }, this.world, this.marks);
      this.whole = make("button", { type: "button", "aria-pressed": "false" }, "The whole world");
      this.legend = make("figcaption");
      this.element = make("figure", { class: "map" }, this.svg, make("div", { class: "map-foot" }, this.legend, this.whole));
      this.whole.onclick = () => {
        this.whole.setAttribute("aria-pressed", this.whole.getAttribute("aria-pressed") !== "true");
        this.resize();
      };
    }

    update(scene, most) {
      this.most = most;
      this.places = scene.entities.map(([, , latitude, longitude]) => [latitude, longitude]).filter(isPlace);
      this.legend.textContent = `Size: ${scene.value}. Round: right; ◇: not right; dashed: not judged yet.`;
      this.resize();
    }

    resize() {
      const width = this.element.clientWidth;
      if (!this.places || !width) return;
      const height = Math.round(Math.min(width * 0.62, 520));
      const isWhole = this.whole.getAttribute("aria-pressed") === "true" || !this.places.length;
      let [north, south, west, east] = [78, -58, -170, 190];
      if (!isWhole) {
        const latitudes = this.places.map(each => each[0]), longitudes = this.places.map(each => each[1]);
        [north, south] = [Math.max(...latitudes), Math.min(...latitudes)];
        [west, east] = [Math.min(...longitudes), Math.max(...longitudes)];
      }
      const middle = (north + south) / 2, flat = Math.cos(middle * Math.PI / 180);
      const wide = Math.max((east - west) * flat * (isWhole ? 1 : 1.35), 8), high = Math.max((north - south) * (isWhole ? 1 : 1.35), 5);
      this.scale = Math.min(width / wide, height / high);  // pixels a degree of latitude
      this.centre = [(east + west) / 2, middle, flat, width, height];
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.svg.style.height = `${height}px`;
      const [x, y] = this.project(0, 0);
      this.world.setAttribute("transform", `translate(${x} ${y}) scale(${this.scale * flat / 10} ${this.scale / 10})`);
      if (this.drawn) this.show(this.drawn);
    }

    project(latitude, longitude) {
      const [east, north, flat, width, height] = this.centre;
      return [width / 2 + (longitude - east) * flat * this.scale, height / 2 - (latitude - north) * this.scale];
    }

    show(drawn) {
      this.drawn = drawn;
      if (!this.scale) return;
      const focused = this.marks.contains(document.activeElement) ? document.activeElement.dataset.key : null;
      this.marks.replaceChildren();
      const taken = [];
      const placed = drawn.map((mark, place) => ({ ...mark, place })).filter(mark => isPlace([mark.latitude, mark.longitude]))
        .map(mark => {
          const [x, y] = this.project(mark.latitude, mark.longitude);
          const r = (10 + 14 * Math.sqrt(Math.abs(mark.value) / this.most)) * (this.centre[3] < 500 ? .75 : 1);
          taken.push([x - r, y - r, x + r, y + r]);
          return { ...mark, x, y, r };
        });
      const groups = placed.map(mark => this.mark(mark));
      groups.forEach((group, number) => this.name(group, placed[number], taken, number));
      if (focused !== null) groups.find(group => group.dataset.key === focused)?.focus({ preventScroll: true });
    }

    mark({ x, y, r, name, key, place, shown, judged, link }) {
      const shape = stateOf(judged) === "bad"
        ? draw("rect", { x: x - r * .8, y: y - r * .8, width: r * 1.6, height: r * 1.6, transform: `rotate(45 ${x} ${y})` })
        : draw("circle", { cx: x, cy: y, r });
      const group = draw(link ? "a" : "g", { class: `mark ${stateOf(judged)}`,
        "aria-label": `${place + 1} ${name}: ${shown}, ${SIGNS[judged][1]}`, ...(link ? { href: link } : { role: "img" }) },
        shape, draw("text", { x, y: y + 4, class: "number" }, String(place + 1)));
      group.dataset.key = JSON.stringify(key);
      this.marks.append(group);
      return group;
    }

    /* Writes name and value beside a mark, where there is room. */
    name(group, { x, y, r, name, place, shown, judged }, taken, own) {
      const text = draw("text", { class: "name" }, `${place + 1} ${name.length > 24 ? `${name.slice(0, 23)}…` : name} ${shown} ${SIGNS[judged][0]}`);
      group.append(text);
      const width = text.getComputedTextLength(), [, , , limitX, limitY] = this.centre;
      const places = [[x + r + 4, y + 4], [x - r - 4 - width, y + 4], [x - width / 2, y - r - 6], [x - width / 2, y + r + 14]];
      const free = places.find(([left, base]) => {
        const box = [left, base - 11, left + width, base + 3];
        return box[0] >= 2 && box[2] <= limitX - 2 && box[1] >= 2 && box[3] <= limitY - 2
          && taken.every((other, number) => number === own || box[0] > other[2] || box[2] < other[0] || box[1] > other[3] || box[3] < other[1]);
      });
      if (!free) { text.remove(); return; }
      text.setAttribute("x", free[0]);
      text.setAttribute("y", free[1]);
      taken.push([free[0], free[1] - 11, free[0] + width, free[1] + 3]);
    }
  }

  function isPlace([latitude, longitude]) {
    return latitude !== null && longitude !== null && Math.abs(latitude) <= 90 && Math.abs(longitude) <= 190;
  }

  /* Draws the rows behind an answer: how many in each part of its time, the mean of the time before, and the answer. */
  function drawRows(root, behind) {
    const high = 150, wide = 600, most = Math.max(...behind.counts, behind.mean || 0, 1), y = n => high - n / most * (high - 8);
    const step = wide / behind.counts.length;
    const svg = draw("svg", { viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none", role: "img", "aria-label": behind.says },
      ...behind.counts.map((n, at) => draw("rect", { x: at * step + step * .1, y: y(n), width: step * .8, height: high - y(n) })));
    if (behind.mean !== null) svg.append(draw("line", { x1: 0, x2: wide, y1: y(behind.mean), y2: y(behind.mean) }));
    const scale = make("p", { class: "rows-scale" }, make("span", {}, behind.begin), make("span", {}, `at most ${Math.max(...behind.counts)} rows`), make("span", {}, behind.end));
    const list = make("dl", {}, ...behind.answer.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    const heading = make("h3", {}, behind.title);
    root.replaceChildren(make("div", { class: "detail" }, heading,
      make("p", { class: `window-verdict ${stateOf(behind.verdict)}` }, `${SIGNS[behind.verdict][0]} This answer: ${SIGNS[behind.verdict][1]}`),
      ...(behind.counts.length ? [make("figure", { class: "rows" }, svg, scale, make("figcaption", {}, behind.says))] : [make("p", {}, behind.says)]), list));
  }

  const known = new WeakMap();
  function drawRanks(root, scene) {
    if (!known.has(root)) known.set(root, new Ranks(root));
    known.get(root).update(scene);
  }

  window.streamproof = { drawRanks, drawRows };
  window.dash_clientside = Object.assign({}, window.dash_clientside, { streamproof: {
    ranks: scene => {
      const root = document.getElementById("ranks");
      if (root && scene) drawRanks(root, scene);
      return window.dash_clientside.no_update;
    },
    rows: behind => {
      const root = document.getElementById("rows-behind");
      if (root && behind) drawRows(root, behind);
      return window.dash_clientside.no_update;
    },
  } });
})();
