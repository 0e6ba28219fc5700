// separate ENGINE.onnx STEM SONG.f32 OUT.f32: one stem of a song, by its number (0 is the first).
// Sounds are 32-bit floats without a header, channels interleaved, at the engine's sample rate.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

using Floats = std::vector<float>;

void require(bool right, const std::string& otherwise) {
    if (!right) throw std::invalid_argument(otherwise);
}

double fade_in(double x) { return std::pow(std::sin(std::acos(0.0) * std::clamp(x, 0.0, 1.0)), 2); }

Floats separate(Ort::Session& session, const Floats& song, int64_t stem) {
    auto shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();  // batch, channels, samples
    require(shape.size() == 3 && shape[2] > 0, "expected an engine of --io wave and of one length: export it again");
    const int64_t stems = session.GetOutputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape()[1];
    require(stem >= 0 && stem < stems, "expected a stem from 0 to " + std::to_string(stems - 1));
    const int64_t channels = shape[1], chunk = shape[2], samples = song.size() / channels;
    require(samples > 0 && song.size() % channels == 0, "expected a song of " + std::to_string(channels) + " channels");
    const int64_t step = std::nearbyint(0.75 * chunk), edge = (chunk - step) / 4, fade = chunk - step - 2 * edge;

    Floats out(song.size()), mixture(channels * chunk);
    shape[0] = 1;
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto input = Ort::Value::CreateTensor<float>(memory, mixture.data(), mixture.size(), shape.data(), 3);
    const char *input_name = "mixture", *output_name = "stems";
    for (int64_t start = 0, last = 0; !last; start += step) {
        const int64_t length = std::min(chunk, samples - start);
        last = start + length == samples;
        std::fill(mixture.begin(), mixture.end(), 0.0f);
        for (int64_t c = 0; c < channels; c++)
            for (int64_t i = 0; i < length; i++) mixture[c * chunk + i] = song[(start + i) * channels + c];
        const auto output = session.Run(Ort::RunOptions(), &input_name, &input, 1, &output_name, 1);
        const float* wave = output[0].GetTensorData<float>() + stem * channels * chunk;
        for (int64_t i = 0; i < length; i++) {
            const double begin = start ? fade_in((i + 0.5 - edge) / fade) : 1;
            const double end = last ? 1 : fade_in((chunk - i - 0.5 - edge) / fade);
            for (int64_t c = 0; c < channels; c++) out[(start + i) * channels + c] += begin * end * wave[c * chunk + i];
        }
    }
    const bool finite = std::all_of(out.begin(), out.end(), [](float x) { return std::isfinite(x); });
    require(finite, "the engine gave NaN or Inf");
    return out;
}

int main(int count, char** args) try {
    const bool right = count == 5 && std::to_string(std::atoi(args[2])) == args[2];
    require(right, "usage: separate ENGINE.onnx STEM SONG.f32 OUT.f32, STEM is a number");
    Floats song(std::filesystem::file_size(args[3]) / sizeof(float));
    std::ifstream song_file(args[3], std::ios::binary);
    song_file.read(reinterpret_cast<char*>(song.data()), song.size() * sizeof(float));
    require(song_file.good(), std::string(args[3]) + ": cannot be read");
    Ort::Env env;
    Ort::Session session(env, args[1], Ort::SessionOptions());
    const Floats out = separate(session, song, std::atoi(args[2]));
    std::ofstream out_file(args[4], std::ios::binary);
    out_file.write(reinterpret_cast<const char*>(out.data()), out.size() * sizeof(float)).flush();
    require(out_file.good(), std::string(args[4]) + ": cannot be written");
} catch (const std::exception& error) {
    std::cerr << "separate: " << error.what() << "\n";
    return 2;
}
