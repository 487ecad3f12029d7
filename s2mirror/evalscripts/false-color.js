//VERSION=3
// Near infrared, red and green: plants are red, bare ground is brown to grey, water is dark.
const ALPHA = true; // false where the format has no transparency

function setup() {
  return {
    input: ["B08", "B04", "B03", "dataMask"],
    output: { bands: ALPHA ? 4 : 3 },
  };
}

function evaluatePixel(sample) {
  const colour = [2.5 * sample.B08, 2.5 * sample.B04, 2.5 * sample.B03];
  return ALPHA ? [...colour, sample.dataMask] : colour;
}
