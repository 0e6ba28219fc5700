// node separate.mjs ENGINE.onnx STEM SONG.f32 OUT.f32: one stem of a song, by its number (0 is the first).
// Sounds are 32-bit floats without a header, channels interleaved, at the engine's sample rate.
import { readFileSync, writeFileSync } from 'node:fs'
import * as ort from 'onnxruntime-web'

function require(right, otherwise) {
  if (!right) throw new Error(otherwise)
}

const fadeIn = (x) => Math.sin((Math.PI / 2) * Math.min(Math.max(x, 0), 1)) ** 2
const toEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x))

async function separate(session, song, stem) {
  const [, channels, chunk, more] = session.inputMetadata[0].shape
  require(chunk > 0 && !more, 'expected an engine of --io wave and of one length: export it again')
  const stems = session.outputMetadata[0].shape[1]
  require(Number.isInteger(stem) && stem >= 0 && stem < stems, `expected a stem from 0 to ${stems - 1}`)
  const samples = song.length / channels
  require(samples > 0 && Number.isInteger(samples), `expected a song of ${channels} channels`)
  const step = toEven(0.75 * chunk)
  const edge = Math.floor((chunk - step) / 4)
  const fade = chunk - step - 2 * edge

  const out = new Float32Array(song.length)
  for (let start = 0, last = false; !last; start += step) {
    const length = Math.min(chunk, samples - start)
    last = start + length === samples
    const mixture = new Float32Array(channels * chunk)
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < length; i++) mixture[c * chunk + i] = song[(start + i) * channels + c]
    const output = await session.run({ mixture: new ort.Tensor('float32', mixture, [1, channels, chunk]) })
    const wave = output.stems.data.subarray(stem * channels * chunk)
    for (let i = 0; i < length; i++) {
      const begin = start ? fadeIn((i + 0.5 - edge) / fade) : 1
      const end = last ? 1 : fadeIn((chunk - i - 0.5 - edge) / fade)
      for (let c = 0; c < channels; c++) out[(start + i) * channels + c] += begin * end * wave[c * chunk + i]
    }
  }
  require(out.every(Number.isFinite), 'the engine gave NaN or Inf')
  return out
}

try {
  require(process.argv.length === 6, 'usage: node separate.mjs ENGINE.onnx STEM SONG.f32 OUT.f32')
  const [engine, stem, songFile, outFile] = process.argv.slice(2)
  const session = await ort.InferenceSession.create(readFileSync(engine))
  const song = new Float32Array(new Uint8Array(readFileSync(songFile)).buffer)
  writeFileSync(outFile, await separate(session, song, Number(stem)))
} catch (error) {
  console.error(`separate.mjs: ${error.message}`)
  process.exitCode = 2
}
