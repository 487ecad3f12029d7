//VERSION=3
// Red, green and blue as the eye would see them, 2.5 times as bright.
const ALPHA = true; // false where the format has no transparency

function setup() {
  return {
    input: ["B04", "B03", "B02", "dataMask"],
    output: { bands: ALPHA ? 4 : 3 },
  };
}

function evaluatePixel(sample) {
  const colour = [2.5 * sample.B04, 2.5 * sample.B03, 2.5 * sample.B02];
  return ALPHA ? [...colour, sample.dataMask] : colour;
}
