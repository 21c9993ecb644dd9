// Where a line leads if all goes on as it does.

// lookBack is how much of the past a forecast is made from, in seconds.
export const lookBack = 1800;

// forecast continues values, one each step seconds, for ahead seconds: by the
// straight line through the past (least squares), between 0 and
// most. It gives the values that follow, and the slope per second; null where too
// little is known.
export function forecast(values, step, ahead, most) {
  const n = Math.min(values.length, Math.round(lookBack / step));
  const points = [];
  for (let i = values.length - n; i < values.length; i++) {
    if (values[i] !== null && values[i] !== undefined) points.push([(i - values.length + 1) * step, values[i]]);
  }
  if (points.length < 6) return null;
  const mean = (k) => points.reduce((a, p) => a + p[k], 0) / points.length;
  const [mx, my] = [mean(0), mean(1)];
  const above = points.reduce((a, p) => a + (p[0] - mx) * (p[1] - my), 0);
  const below = points.reduce((a, p) => a + (p[0] - mx) ** 2, 0);
  const slope = below > 0 ? above / below : 0;
  const from = points.at(-1)[1];
  const list = [];
  for (let t = step; t <= ahead; t += step) list.push(Math.max(0, Math.min(most || Infinity, from + slope * t)));
  return { list, slope };
}
