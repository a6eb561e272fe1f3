"use strict";
// Draws charts: bars a day, or lines over time with marks where something failed. Their colours come from the stylesheet,
// so they follow the theme.

(function () {
  let charts = [];

  function draw(canvas) {
    const source = document.getElementById(canvas.dataset.chart);
    const data = source.tagName === "TABLE" ? tableData(source) : JSON.parse(source.textContent);
    const chart = new Chart(canvas, data.lines ? lines(data) : bars(data));
    charts.push(chart);
    colour(chart);
  }

  // The table that screen readers get says the same: a second copy would weigh as much again.
  function tableData(table) {
    const texts = (selector) => [...table.querySelectorAll(selector)].map((cell) => cell.textContent);
    return { labels: texts("th[scope=row]"), values: texts("td").map(Number), unit: table.dataset.unit };
  }

  function bars(data) {
    return {
      type: "bar",
      data: {
        labels: data.labels,
        datasets: [{ label: data.unit, data: data.values, borderRadius: 2, maxBarThickness: 22, minBarLength: 1 }],
      },
      options: options({ precision: 0 }, { display: false }),
    };
  }

  function lines(data) {
    const drawn = data.lines.map(function (line) {
      return { label: line.label, data: line.values, borderWidth: 2, pointRadius: alone, pointHitRadius: 8, tension: 0.2 };
    });
    const config = {
      type: "line",
      data: { labels: data.labels, datasets: data.marks ? drawn.concat(marks(data.marks)) : drawn },
      options: options({}, { align: "end", labels: { boxWidth: 12, boxHeight: 2 } }),
    };
    if (data.marks) config.options.scales.marks = { display: false, min: 0, max: 1 };
    config.options.plugins.tooltip = {
      filter: (item) => item.raw !== null,
      callbacks: {
        label: function (item) {
          const value = item.dataset.told ? item.dataset.told[item.dataIndex] : `${item.formattedValue} ${data.unit}`;
          return `${item.dataset.label}: ${value}`;
        },
      },
    };
    return config;
  }

  // As high as the chart, wherever there is something to mark: how much it was, the tooltip tells.
  function marks(data) {
    const heights = data.values.map((count) => (count ? 1 : null));
    const shape = { barPercentage: 1, categoryPercentage: 1, minBarThickness: 3, yAxisID: "marks" };
    return { type: "bar", label: data.label, data: heights, told: data.values, ...shape };
  }

  // A line has no points, but for one that has no neighbours to be joined to.
  function alone(context) {
    const values = context.dataset.data;
    const isMissing = (index) => values[index] === null || values[index] === undefined;
    return isMissing(context.dataIndex - 1) && isMissing(context.dataIndex + 1) ? 2 : 0;
  }

  function options(ticks, legend) {
    return {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: { legend: legend },
      scales: {
        x: { grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 24 } },
        y: { beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 4, ...ticks } },
      },
    };
  }

  function colour(chart) {
    const style = getComputedStyle(chart.canvas);
    const ofLines = [style.color, style.caretColor, style.textDecorationColor];
    const { x, y } = chart.options.scales;
    chart.data.datasets.forEach(function (dataset, number) {
      const mark = style.textDecorationColor.replace("rgb(", "rgba(").replace(")", ", .35)");
      const chosen = dataset.told ? mark : ofLines[number];
      dataset.backgroundColor = dataset.borderColor = chosen;
    });
    x.ticks.color = y.ticks.color = style.outlineColor;
    if (chart.options.plugins.legend.labels) chart.options.plugins.legend.labels.color = style.outlineColor;
    y.grid = { color: style.borderTopColor };
    chart.update();
  }

  function colourAll() {
    charts.forEach(colour);
  }

  function drawAll() {
    charts.filter((chart) => !chart.canvas.isConnected).forEach((chart) => chart.destroy());
    charts = charts.filter((chart) => chart.canvas);
    document.querySelectorAll("canvas[data-chart]").forEach((canvas) => Chart.getChart(canvas) || draw(canvas));
  }

  Chart.defaults.locale = document.documentElement.lang;
  drawAll();
  document.addEventListener("live:renewed", drawAll);
  new MutationObserver(colourAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colourAll);
})();
