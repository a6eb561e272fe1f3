"use strict";
// Draws the charts of the landing page. Their colours come from the stylesheet, so they follow the theme.

(function () {
  const charts = [];

  function draw(canvas) {
    const data = JSON.parse(document.getElementById(canvas.dataset.chart).textContent);
    const chart = new Chart(canvas, {
      type: "bar",
      data: {
        labels: data.labels,
        datasets: [{ label: data.unit, data: data.values, borderRadius: 2, maxBarThickness: 22, minBarLength: 1 }],
      },
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        plugins: { legend: { display: false } },
        scales: {
          x: { grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 24 } },
          y: { beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 4, precision: 0 } },
        },
      },
    });
    charts.push(chart);
    colour(chart);
  }

  function colour(chart) {
    const style = getComputedStyle(chart.canvas);
    const { x, y } = chart.options.scales;
    chart.data.datasets[0].backgroundColor = style.color;
    x.ticks.color = y.ticks.color = style.outlineColor;
    y.grid = { color: style.borderTopColor };
    chart.update();
  }

  function colourAll() {
    charts.forEach(colour);
  }

  document.querySelectorAll("canvas[data-chart]").forEach(draw);
  new MutationObserver(colourAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colourAll);
})();
