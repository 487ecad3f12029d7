//VERSION=3
// How green it is: (B08 - B04) / (B08 + B04), from blue (water) over sand to dark green (forest).
const ALPHA = true; // false where the format has no transparency
const RAMP = [
  [-0.2, [0.05, 0.2, 0.45]],
  [0.0, [0.75, 0.75, 0.75]],
  [0.2, [0.92, 0.86, 0.62]],
  [0.5, [0.45, 0.7, 0.25]],
  [0.9, [0.0, 0.27, 0.0]],
];

function setup() {
  return {
    input: ["B04", "B08", "dataMask"],
    output: { bands: ALPHA ? 4 : 3 },
  };
}

function colourOf(value) {
  if (value <= RAMP[0][0]) return RAMP[0][1];
  for (let at = 1; at < RAMP.length; at++) {
    const [low, from] = RAMP[at - 1];
    const [high, to] = RAMP[at];
    if (value <= high) {
      const share = (value - low) / (high - low);
      return from.map((part, band) => part + share * (to[band] - part));
    }
  }
  return RAMP[RAMP.length - 1][1];
}

function evaluatePixel(sample) {
  const sum = sample.B08 + sample.B04;
  const seen = sample.dataMask && sum ? colourOf((sample.B08 - sample.B04) / sum) : [0, 0, 0];
  return ALPHA ? [...seen, sample.dataMask] : seen;
}
