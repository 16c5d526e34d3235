"use strict";
// The difference of two systems in one arm of a group: as `lgbench compare` has it, which a test holds this to.
const statistics = (() => {
  // The logarithm of the gamma function (Lanczos).
  function logGamma(x) {
    const parts = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 1.208650973866179e-3, -5.395239384953e-6];
    const base = x + 5.5 - (x + 0.5) * Math.log(x + 5.5);
    const series = parts.reduce((sum, part, index) => sum + part / (x + 1 + index), 1.000000000190015);
    return -base + Math.log((2.5066282746310005 * series) / x);
  }

  // The regularized incomplete beta function, by Lentz's continued fraction.
  function betaInc(a, b, x) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
    return x < (a + 1) / (a + b + 2) ? (front * fraction(a, b, x)) / a : 1 - (front * fraction(b, a, 1 - x)) / b;
  }

  function fraction(a, b, x) {
    const tiny = 1e-300;
    const guard = (value) => (Math.abs(value) < tiny ? tiny : value);
    let c = 1;
    let d = 1 / guard(1 - ((a + b) * x) / (a + 1));
    let h = d;
    for (let m = 1; m <= 500; m += 1) {
      let step = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 / guard(1 + step * d);
      c = guard(1 + step / c);
      h *= d * c;
      step = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / guard(1 + step * d);
      c = guard(1 + step / c);
      const change = d * c;
      h *= change;
      if (Math.abs(change - 1) < 1e-14) break;
    }
    return h;
  }

  const twoSided = (t, degrees) => betaInc(degrees / 2, 0.5, degrees / (degrees + t * t));

  // The 97.5th percentile of Student's t, by bisection.
  function quantile(degrees) {
    let [low, high] = [0, 13];
    for (let step = 0; step < 200; step += 1) {
      const middle = (low + high) / 2;
      if (twoSided(middle, degrees) > 0.05) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  function sample(arm) {
    const seeds = arm.accuracies;
    const center = mean(seeds);
    const spread = seeds.reduce((sum, value) => sum + (value - center) ** 2, 0);
    return { center, seeds: seeds.length, down: arm.down, up: arm.up, variance: arm.constant || seeds.length < 2 ? 0 : spread / (seeds.length - 1) / seeds.length };
  }

  const choose = (n, k) => Array.from({ length: k }, (_, index) => (n - index) / (index + 1)).reduce((product, each) => product * each, 1);

  // One arm of two systems. p is null with one seed on a side; then the interval is over examples alone.
  function difference(first, second) {
    const [a, b] = [sample(first), sample(second)];
    const value = a.center - b.center;
    const cut = (down, up) => [Math.max(-1, value - down), Math.min(1, value + up)];
    if (a.seeds === 1 || b.seeds === 1)
      return { value, interval: cut(Math.hypot(a.down, b.up), Math.hypot(a.up, b.down)), p: null, test: "none" };
    const variance = a.variance + b.variance;
    if (variance === 0) {
      const p = first.accuracies[0] === second.accuracies[0] ? 1 : Math.min(1, 2 / choose(a.seeds + b.seeds, a.seeds));
      return { value, interval: null, p, test: "permutation" };
    }
    const degrees = variance ** 2 / (a.variance ** 2 / (a.seeds - 1) + b.variance ** 2 / (b.seeds - 1));
    const reach = quantile(degrees) * Math.sqrt(variance);
    return { value, interval: cut(reach, reach), p: twoSided(value / Math.sqrt(variance), degrees), test: "welch" };
  }

  return { difference };
})();
