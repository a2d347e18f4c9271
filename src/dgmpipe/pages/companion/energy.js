// The energy distance of two samples and its permutation test, doi:10.1016/j.jspi.2013.03.018.

/** Euclidean distances of N points, each an array: a matrix of N × N. */
export function distances(points) {
  const count = points.length;
  const matrix = new Float64Array(count * count);
  for (let i = 0; i < count; i++) {
    const x = points[i];
    for (let j = 0; j < i; j++) {
      const y = points[j];
      let sum = 0;
      for (let k = 0; k < x.length; k++) sum += (x[k] - y[k]) ** 2;
      matrix[i * count + j] = matrix[j * count + i] = Math.sqrt(sum);
    }
  }
  return matrix;
}

/** Statistic T = nm/(n+m) V and the unbiased estimate, where `first` lists the n of one sample. */
export function statistics(matrix, count, first) {
  const inFirst = new Uint8Array(count);
  for (const i of first) inFirst[i] = 1;
  let [within, between, rest] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < i; j++) {
      const distance = matrix[i * count + j];
      if (inFirst[i] !== inFirst[j]) between += distance;
      else if (inFirst[i]) within += 2 * distance;
      else rest += 2 * distance;
    }
  }
  const [n, m] = [first.length, count - first.length];
  const value = (2 * between) / (n * m) - within / n ** 2 - rest / m ** 2;
  const unbiased = (2 * between) / (n * m) - within / (n * (n - 1)) - rest / (m * (m - 1));
  return { statistic: ((n * m) / (n + m)) * Math.max(value, 0), unbiased, between };
}

/** The test of x against y by permutations of the labels; `random` gives numbers in [0, 1). */
export function energyTest(x, y, permutations, random) {
  const count = x.length + y.length;
  const matrix = distances([...x, ...y]);
  const labels = Array.from({ length: count }, (_, i) => i);
  const { statistic, unbiased } = statistics(matrix, count, labels.slice(0, x.length));
  const nulls = [];
  for (let b = 0; b < permutations; b++) {
    for (let i = 0; i < x.length; i++) {
      const j = i + Math.floor(random() * (count - i));
      [labels[i], labels[j]] = [labels[j], labels[i]];
    }
    nulls.push(statistics(matrix, count, labels.slice(0, x.length)).statistic);
  }
  const tie = 1e-12 * Math.max(statistic, ...nulls); // partitions that tie are summed in other orders
  const exceeding = nulls.filter((value) => value >= statistic - tie).length;
  return { statistic, unbiased, nulls, pvalue: (1 + exceeding) / (permutations + 1) };
}

/** Random numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function randomStream(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` points of N(0, I) in q dimensions (Box and Muller). */
export function normalPoints(count, q, random) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Array.from({ length: count }, () => Array.from({ length: q }, normal));
}
