//VERSION=3
// The scene classification of L2A products, in its usual colours. Products of level L1C have none.
const ALPHA = true; // false where the format has no transparency
const COLOURS = [
  [0, 0, 0], // no data
  [255, 0, 0], // saturated or defective
  [47, 47, 47], // dark area, cast shadow
  [100, 50, 0], // cloud shadow
  [0, 160, 0], // vegetation
  [255, 230, 90], // not vegetated
  [0, 0, 255], // water
  [128, 128, 128], // unclassified
  [192, 192, 192], // cloud, medium probability
  [255, 255, 255], // cloud, high probability
  [100, 200, 255], // thin cirrus
  [255, 150, 255], // snow or ice
];

function setup() {
  return {
    input: ["SCL", "dataMask"],
    output: { bands: ALPHA ? 4 : 3, sampleType: "UINT8" },
  };
}

function evaluatePixel(sample) {
  const colour = sample.dataMask ? COLOURS[sample.SCL] || COLOURS[0] : COLOURS[0];
  return ALPHA ? [...colour, 255 * sample.dataMask] : colour;
}
