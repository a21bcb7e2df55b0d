// Figures that answer the pointer: uPlot draws the numbers of a figure in the place of its picture, which print keeps.
(() => {
  const BEST = 8;
  const HEIGHT = 250, RADIUS = 4.5, WIDTH = 1.8;
  const LISTED = 10;
  const INK = "#1c2430", SOFT = "#566173", LINE = "#e7ebf0", GREY = "#a9b1bc";
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

  // Markers as polygons of radius one; a circle has none.
  const turned = (points, degrees) => {
    const [c, s] = [Math.cos(degrees * Math.PI / 180), Math.sin(degrees * Math.PI / 180)];
    return points.map(([x, y]) => [x * c - y * s, x * s + y * c]);
  };
  const triangle = [[0, -1], [0.95, 0.75], [-0.95, 0.75]];
  const square = [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]];
  const plus = [0, 90, 180, 270].flatMap((angle) => turned([[-0.35, -1], [0.35, -1], [0.35, -0.35]], angle));
  const star = [0, 72, 144, 216, 288].flatMap((angle) => turned([[0, -1.2], [0.28, -0.39]], angle));
  const SHAPES = {
    s: square, D: turned(square, 45), "^": triangle, v: turned(triangle, 180), "<": turned(triangle, 270),
    ">": turned(triangle, 90), P: plus, X: turned(plus, 45), "*": star,
  };

  const PREFIXES = [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]];
  function written(value, digits = 4) {
    const [factor, prefix] = PREFIXES.find(([size]) => Math.abs(value) >= size) ?? [1, ""];
    return Number((value / factor).toPrecision(digits)).toString().replace("-", "−") + prefix;
  }

  // Round numbers along a logarithmic axis; over less than a factor of 1.6 it is all but linear.
  function logTicks(low, high) {
    const ratio = high / low, found = [];
    if (ratio < 1.6) {
      const rough = (high - low) / 4, decade = 10 ** Math.floor(Math.log10(rough));
      const step = decade * [1, 2, 5, 10].find((factor) => factor * decade >= rough);
      for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
      return found;
    }
    const steps = ratio < 3 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8] : ratio < 8 ? [1, 1.5, 2, 3, 5, 7] : ratio < 50 ? [1, 2, 5] : ratio < 1000 ? [1, 3] : [1];
    const every = Math.ceil(Math.log10(ratio) / 7);
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      if (power % every === 0) found.push(...steps.map((step) => step * 10 ** power).filter((value) => value >= low * 0.999 && value <= high * 1.001));
    }
    return found;
  }

  function element(name, parent, properties = {}) {
    const made = Object.assign(document.createElement(name), properties);
    parent.append(made);
    return made;
  }

  // Line and marker of a model, as the plots of this kind show them.
  function swatch(model, kind) {
    const space = "http://www.w3.org/2000/svg";
    const image = document.createElementNS(space, "svg");
    const add = (name, attributes) => {
      const part = document.createElementNS(space, name);
      for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
      image.append(part);
    };
    for (const [key, value] of [["width", 26], ["height", 12], ["class", "swatches"], ["aria-hidden", "true"]]) image.setAttribute(key, value);
    if (kind !== "points") {
      add("line", {x1: 0, x2: 26, y1: 6, y2: 6, stroke: model.color, "stroke-width": 2, "stroke-dasharray": model.dashes.map((dash) => 2 * dash).join(" ")});
    }
    if (kind !== "line") {
      const shape = SHAPES[model.marker];
      if (shape) add("polygon", {points: shape.map(([x, y]) => `${13 + 5 * x},${6 + 5 * y}`).join(" "), fill: model.color});
      else add("circle", {cx: 13, cy: 6, r: 5, fill: model.color});
    }
    return image;
  }

  function marker(context, model, x, y, radius) {
    const shape = SHAPES[model.marker];
    context.beginPath();
    if (shape) shape.forEach(([dx, dy]) => context.lineTo(x + radius * dx, y + radius * dy));
    else context.arc(x, y, radius, 0, 2 * Math.PI);
    context.closePath();
    context.fillStyle = model.color;
    context.fill();
  }

  class Panel {
    constructor(parent, plot, models) {
      this.plot = plot;
      this.curves = plot.curves.map((curve) => ({...curve, look: models.get(curve.model)}));
      this.x = [...new Set(this.curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
      const place = new Map(this.x.map((value, index) => [value, index]));
      const drawable = (value) => value !== null && (!plot.y.log || value > 0) ? value : null;
      const data = [this.x], series = [{}], bands = [];
      for (const curve of this.curves) {
        for (const part of ["y", "low", "high"]) {
          const values = Array(this.x.length).fill(null);
          curve.x.forEach((x, index) => { values[place.get(x)] = drawable(curve[part][index]); });
          data.push(values);
          const line = part === "y" ? {stroke: curve.look.color, width: WIDTH, dash: curve.look.dashes.map((dash) => WIDTH * dash)} : {stroke: "transparent", width: 0};
          series.push({show: curve.look.shown, spanGaps: true, points: {show: false}, ...line, ...(plot.kind === "points" ? {paths: () => null} : {})});
        }
        if (plot.kind !== "points") bands.push({series: [series.length - 1, series.length - 2], fill: `${curve.look.color}29`});
      }
      this.box = element("div", parent, {className: "panel", tabIndex: 0});
      this.box.setAttribute("role", "img");
      this.box.setAttribute("aria-label", `${plot.title ? `${plot.title}: ` : ""}${plot.y.label} against ${plot.x.label}`);
      if (plot.title) element("p", this.box, {textContent: plot.title});
      this.u = new uPlot(this.options(series, bands), data, this.box);
      this.reading = element("div", this.u.over, {className: "reading", hidden: true});
      this.box.addEventListener("keydown", (event) => this.step(event));
    }

    options(series, bands) {
      const {x, y} = this.plot;
      const ends = [this.x[0], this.x.at(-1)];
      // Space beside the first and the last point; a part that was chosen is shown as it was chosen.
      const wide = (log, share) => (u, low, high) => {
        if (low === null) return [log ? 1 : 0, log ? 10 : 1];
        if (log) { const factor = Math.max((high / low) ** share, 1.02); return [low / factor, high * factor]; }
        const space = share * (high - low || Math.abs(high) || 1);
        return [low - space, high + space];
      };
      const across = (u, low, high) => low <= ends[0] && high >= ends[1] ? x.limits ?? wide(x.log, 0.07)(u, ...ends) : [low, high];
      const axis = (given) => ({
        label: given.label, labelFont: FONT, font: FONT, stroke: INK, labelSize: 20, labelGap: 0, gap: 3,
        grid: {stroke: LINE, width: 1}, ticks: {stroke: LINE, width: 1, size: 4},
        ...(given.log ? {splits: (u, place, low, high) => logTicks(low, high), filter: (u, splits) => splits} : {}),
        values: (u, splits) => splits.map((value) => value === null ? "" : written(value, 3)),
      });
      return {
        width: this.box.clientWidth || 300, height: HEIGHT, series, bands,
        padding: [8, 10, 0, 0],
        scales: {
          x: {time: false, distr: x.log ? 3 : 1, range: across},
          y: {distr: y.log ? 3 : 1, range: y.limits ? () => y.limits : wide(y.log, 0.05)},
        },
        axes: [{...axis(x), size: 30}, {...axis(y), size: 44}],
        legend: {show: false},
        cursor: {points: {show: false}, y: this.plot.kind === "points", drag: {x: true, y: true, uni: 20, dist: 5}},
        hooks: {drawAxes: [() => this.below()], draw: [() => this.above()], setCursor: [() => this.read()]},
      };
    }

    // Curves that are switched on, with the places of their series.
    get visible() {
      return this.curves.map((curve, index) => [curve, 3 * index + 1]).filter(([curve]) => curve.look.shown);
    }

    // Points of curves that are switched on: place on the canvas (or in the box, in CSS pixels) and numbers.
    points(canvas) {
      const found = [];
      for (const [curve, place] of this.visible) {
        this.x.forEach((x, index) => {
          const [y, low, high] = [0, 1, 2].map((part) => this.u.data[place + part][index]);
          if (y === null) return;
          const at = (value) => this.u.valToPos(value, "y", canvas);
          found.push({curve, x, y, low, high, left: this.u.valToPos(x, "x", canvas), top: at(y), ends: [low, high].map((value) => value === null ? at(y) : at(value))});
        });
      }
      return found;
    }

    inside(draw) {
      const {ctx, bbox} = this.u;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      draw(ctx, bbox, uPlot.pxRatio);
      ctx.restore();
    }

    below() {
      this.inside((ctx, bbox, ratio) => {
        ctx.strokeStyle = GREY;
        ctx.lineWidth = 1.2 * ratio;
        if (this.plot.at !== null) {
          const x = this.u.valToPos(this.plot.at, "x", true);
          ctx.setLineDash([1.5 * ratio, 3 * ratio]);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
        }
        if (this.plot.kind === "points") {
          // The steps along what no other one beats at its cost.
          const sign = this.plot.better === "higher" ? 1 : -1;
          let best = -Infinity, top = null;
          ctx.setLineDash([]);
          ctx.beginPath();
          for (const point of this.points(true).sort((a, b) => a.x - b.x || sign * (b.y - a.y))) {
            if (sign * point.y <= best) continue;
            best = sign * point.y;
            if (top === null) ctx.moveTo(point.left, point.top);
            else { ctx.lineTo(point.left, top); ctx.lineTo(point.left, point.top); }
            top = point.top;
          }
          ctx.stroke();
        }
      });
    }

    above() {
      if (this.plot.kind === "line") return;
      this.inside((ctx, bbox, ratio) => {
        for (const point of this.points(true)) {
          if (this.plot.kind === "points") {
            ctx.strokeStyle = point.curve.look.color;
            ctx.lineWidth = 1.3 * ratio;
            ctx.setLineDash([]);
            ctx.beginPath();
            ctx.moveTo(point.left, point.ends[0]);
            ctx.lineTo(point.left, point.ends[1]);
            ctx.stroke();
          }
          marker(ctx, point.curve.look, point.left, point.top, RADIUS * ratio);
        }
      });
    }

    // What the pointer is at: of points the nearest one, of curves all at this x.
    read() {
      if (!this.reading) return;
      const {left, top, idx} = this.u.cursor;
      let points = left < 0 || idx === null || idx === undefined ? [] : this.points(false);
      const far = (point) => this.plot.kind === "points" ? Math.hypot(point.left - left, point.top - top) : Math.abs(point.top - top);
      if (this.plot.kind !== "points") points = points.filter((point) => point.x === this.x[idx]);
      points.sort((a, b) => far(a) - far(b));
      const listed = points.slice(0, this.plot.kind === "points" ? 1 : LISTED).sort((a, b) => a.top - b.top);
      this.reading.hidden = !listed.length;
      if (!listed.length) return;
      this.reading.replaceChildren();
      element("b", this.reading, {textContent: `${this.plot.x.label} ${written(listed[0].x)}`});
      for (const {curve, y, low, high} of listed) {
        const line = element("div", this.reading);
        element("i", line).style.background = curve.look.color;
        line.append(`${curve.look.title} ${written(y)}`);
        if (low !== null && high !== null && low !== high) element("span", line, {textContent: ` (${written(low, 3)} to ${written(high, 3)})`});
      }
      if (this.plot.kind !== "points" && points.length > LISTED) element("div", this.reading, {textContent: `and ${points.length - LISTED} more`});
      const at = this.plot.kind === "points" ? listed[0] : {left: this.u.valToPos(this.x[idx], "x"), top};
      const right = at.left > this.u.over.clientWidth / 2;
      // Beside the point, on the side that has more room, and within the page.
      const reach = right ? at.left - 12 : at.left + 12;
      this.reading.style.transform = `translate(${right ? "-100%" : "0"}, -50%)`;
      this.reading.style.left = `${reach}px`;
      const half = this.reading.offsetHeight / 2;
      this.reading.style.top = `${Math.max(half - 10, Math.min(at.top, this.u.over.clientHeight - half + 30))}px`;
      const shown = this.reading.getBoundingClientRect(), room = document.documentElement.clientWidth;
      const shift = shown.left < 4 ? 4 - shown.left : shown.right > room - 4 ? room - 4 - shown.right : 0;
      if (shift) this.reading.style.left = `${reach + shift}px`;
    }

    // Arrow keys go from point to point, Escape ends the reading.
    step(event) {
      const way = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (event.key === "Escape") this.u.setCursor({left: -10, top: -10});
      if (!way) return;
      event.preventDefault();
      const points = this.points(false).sort((a, b) => a.x - b.x || a.top - b.top);
      const here = points.findIndex((point) => point === this.stepped || (this.stepped && point.x === this.stepped.x && point.curve === this.stepped.curve));
      const steps = this.plot.kind === "points" ? points : points.filter((point, index) => index === 0 || point.x !== points[index - 1].x);
      const from = here < 0 ? (way > 0 ? -1 : steps.length) : steps.findIndex((point) => this.plot.kind === "points" ? point === points[here] : point.x === points[here].x);
      this.stepped = steps[Math.max(0, Math.min(steps.length - 1, from + way))];
      if (this.stepped) this.u.setCursor({left: this.stepped.left, top: this.stepped.top});
    }

    update() {
      this.u.batch(() => this.curves.forEach((curve, index) => {
        for (let part = 1; part <= 3; part++) this.u.setSeries(3 * index + part, {show: curve.look.shown});
      }));
    }

    whole() {
      this.u.setData(this.u.data);
    }

    fit() {
      if (this.box.clientWidth) this.u.setSize({width: this.box.clientWidth, height: HEIGHT});
    }
  }

  // Which models are shown: the best eight first, the others one opens.
  function key(parent, models, kind, update) {
    const boxes = new Map();
    const list = element("div", parent, {className: "key"});
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", "Shown in this figure");
    const add = (model, where) => {
      const label = element("label", where);
      const box = element("input", label, {type: "checkbox", checked: model.shown});
      box.addEventListener("change", () => { model.shown = box.checked; update(); });
      boxes.set(model, box);
      label.append(swatch(model, kind));
      element("span", label, {textContent: model.title});
    };
    models.slice(0, BEST).forEach((model) => add(model, list));
    const choose = (text, chosen) => element("button", list, {type: "button", textContent: text}).addEventListener("click", () => {
      models.forEach((model, index) => { model.shown = boxes.get(model).checked = chosen(index); });
      update();
    });
    if (models.length > BEST) {
      const rest = element("details", list);
      element("summary", rest, {textContent: `${models.length - BEST} more`});
      const others = element("div", rest);
      models.slice(BEST).forEach((model) => add(model, others));
      choose("Best eight", (index) => index < BEST);
    }
    choose("All", () => true);
    choose("None", () => false);
    return list;
  }

  for (const figure of document.querySelectorAll("figure:has(> script.numbers)")) {
    const {models, plots} = JSON.parse(figure.querySelector("script.numbers").textContent);
    models.forEach((model, index) => { model.shown = index < BEST; });
    const live = document.createElement("div");
    live.className = "live";
    figure.querySelector("img").loading = "eager";
    figure.querySelector("img").after(live);
    figure.classList.add("pointed");
    const panels = [];
    const list = key(live, models, plots[0].kind, () => panels.forEach((panel) => panel.update()));
    element("button", list, {type: "button", textContent: "Whole range"}).addEventListener("click", () => panels.forEach((panel) => panel.whole()));
    const box = element("div", live, {className: "panels"});
    box.style.setProperty("--columns", plots.length % 4 ? Math.min(plots.length, 3) : 4);
    const named = new Map(models.map((model) => [model.model, model]));
    for (const plot of plots) panels.push(new Panel(box, plot, named));
    element("p", live, {className: "note", textContent: "Point at a value to read it, drag over a part to enlarge it, click twice to see the whole again."});
    new ResizeObserver(() => panels.forEach((panel) => panel.fit())).observe(box);
  }
})();
