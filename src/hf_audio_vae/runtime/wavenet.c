/* An autoregressive WaveNet, sample by sample. All weights are read for each sample, from the cache in the best case,
   so a sample takes as long as the cache needs to deliver them: half as long if they are bfloat16. Everything else is
   float32. Sizes of rows are multiples of WIDTH. */

#include "vectors.h"

#include <math.h>

INLINE vector clamp(vector x, float low, float high) {
    integers below = x < low, above = x > high;
    vector lowest = low + (vector){}, highest = high + (vector){};
    return (vector)(((integers)x & ~(below | above)) | ((integers)lowest & below) | ((integers)highest & above));
}

/* exp(x), relative error 2e-7. */
INLINE vector exponential(vector x) {
    const float rounding = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = clamp(x, -87.0f, 88.0f);
    vector shifted = x * 0x1.715476p0f + rounding, power = shifted - rounding;
    vector r = x - power * 0x1.62e4p-1f; /* ln 2 in two parts, so that the first product is exact */
    r = r - power * 0x1.7f7d1cp-20f;
    vector p = 1.0f + r * (1.0f + r * (0.5f + r * (0x1.555556p-3f + r * (0x1.555556p-5f + r * (0x1.111112p-7f +
               r * 0x1.6c16c2p-10f)))));
    return (vector)((integers)p + (((integers)shifted - 0x4b400000) << 23));
}

/* y += a W; a has `depth` values, y `columns` sums, W panels of WIDTH columns from an index on. Weights are float32, or
   pairs of bfloat16: that of a column in the lower and that of the column LANES after it in the upper half. */
INLINE void add_row_product(float *y, const float *a, const float *w, long depth, long columns, int is_short) {
    for (long column = 0; column < columns; column += WIDTH) {
        vector sums[4][2] = {};
        for (long d = 0; d < depth; d += 4)
            UNROLL for (int i = 0; i < 4; i++) {
                vector first = load(w), second;
                if (is_short) {
                    second = (vector)((integers)first & (int32_t)0xffff0000);
                    first = (vector)((integers)first << 16);
                } else {
                    second = load(w + LANES);
                }
                sums[i][0] += a[d + i] * first;
                sums[i][1] += a[d + i] * second;
                w += is_short ? LANES : WIDTH;
            }
        UNROLL for (int half = 0; half < 2; half++) {
            float *to = y + column + half * LANES;
            store(to, load(to) + ((sums[0][half] + sums[1][half]) + (sums[2][half] + sums[3][half])));
        }
    }
}

INLINE void positive(float *to, const float *from, long count) {
    for (long c = 0; c < count; c += LANES) {
        vector x = load(from + c);
        store(to + c, (vector)((integers)x & ~(x < 0.0f))); /* NaN stays */
    }
}

/* tanh of the first half times sigmoid of the second, as one quotient. */
INLINE void gated(float *to, const float *gates, long channels) {
    for (long c = 0; c < channels; c += LANES) {
        vector a = clamp(load(gates + c), -10.0f, 10.0f), b = clamp(load(gates + channels + c), -40.0f, 40.0f);
        vector u = exponential(-2.0f * a), v = exponential(-b);
        store(to + c, (1.0f - u) / ((1.0f + u) * (1.0f + v)));
    }
}

/* A class drawn by the inverse of its cumulative distribution; the most probable one at temperature 0. */
static long choose(const float *logits, long classes, float uniform, float temperature) {
    long best = 0;
    for (long k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    if (temperature == 0) return best;
    float cumulative[classes + LANES], total = 0;
    for (long k = 0; k < classes; k += LANES)
        store(cumulative + k, exponential((load_some(logits + k, classes - k) - logits[best]) / temperature));
    for (long k = 0; k < classes; k++) cumulative[k] = total += cumulative[k];
    for (long k = 0; k < classes; k++)
        if (cumulative[k] > uniform * total) return k;
    return classes - 1;
}

typedef struct { /* of the network */
    long batch, hop, layers, channels, skip, audio_channels, components, is_mixture, parameters, longest, is_short, time;
} sizes;

/* The samples of a frame of each item. Rows are padded to multiples of WIDTH.

   offsets   (batch, layers, 2 channels): conditioning and biases of the gates
   layers    for each: panels (channels, 2 channels) of the past tap, of the present tap, and (channels, skip +
             channels) of the sum and the next input
   inputs    (audio_channels + 1, channels): weights and, last, bias of the first layer
   biases    skip, skip and parameters: of the sum, the hidden and the last layer
   heads     panels (skip, skip) and (skip, parameters)
   kept      (batch, layers, longest, channels): the inputs of each layer, at sample t modulo its dilation
   last      (batch, audio_channels): the last sample, as the network reads it
   noise     (hop, batch, audio_channels, 2): uniform numbers
   samples   (batch, audio_channels, hop) */
INLINE void generate(sizes s, const long *dilations, const float *temperature, const float *offsets,
                     const float *layers, const float *inputs, const float *biases, const float *heads, float *kept,
                     float *last, const float *noise, float *samples, long threads, int is_short) {
    long outputs = s.skip + s.channels, share = is_short ? 2 : 1; /* weights in a float */
    long product = s.channels * 2 * s.channels / share;
#pragma omp parallel for schedule(static) num_threads(threads) if (s.batch > 1)
    for (long item = 0; item < s.batch; item++) {
        float sums[outputs], gates[2 * s.channels], parameters[s.parameters];
        float hidden[s.skip > s.channels ? s.skip : s.channels];
        float *x = sums + s.skip, *past = last + item * s.audio_channels;
        for (long n = 0; n < s.hop; n++) {
            memcpy(sums, biases, s.skip * sizeof(float));
            memcpy(x, inputs + s.audio_channels * s.channels, s.channels * sizeof(float));
            for (long channel = 0; channel < s.audio_channels; channel++)
                for (long c = 0; c < s.channels; c++) x[c] += past[channel] * inputs[channel * s.channels + c];
            const float *w = layers;
            for (long layer = 0; layer < s.layers; layer++) {
                long row = (item * s.layers + layer) * s.longest + (s.time + n) % dilations[layer];
                float *input = kept + row * s.channels;
                memcpy(gates, offsets + (item * s.layers + layer) * 2 * s.channels, sizeof gates);
                add_row_product(gates, input, w, s.channels, 2 * s.channels, is_short);
                memcpy(input, x, s.channels * sizeof(float));
                add_row_product(gates, input, w + product, s.channels, 2 * s.channels, is_short);
                gated(hidden, gates, s.channels);
                add_row_product(sums, hidden, w + 2 * product, s.channels, outputs, is_short);
                w += 2 * product + s.channels * outputs / share;
            }
            positive(hidden, sums, s.skip);
            memcpy(sums, biases + s.skip, s.skip * sizeof(float));
            add_row_product(sums, hidden, heads, s.skip, s.skip, is_short);
            positive(hidden, sums, s.skip);
            memcpy(parameters, biases + 2 * s.skip, s.parameters * sizeof(float));
            add_row_product(parameters, hidden, heads + s.skip * s.skip / share, s.skip, s.parameters, is_short);
            for (long channel = 0; channel < s.audio_channels; channel++) {
                const float *own = parameters + channel * s.components * (s.is_mixture ? 3 : 1);
                const float *uniform = noise + ((n * s.batch + item) * s.audio_channels + channel) * 2;
                long chosen = choose(own, s.components, uniform[0], *temperature);
                float value;
                if (s.is_mixture) {
                    float u = fminf(fmaxf(uniform[1], 1e-5f), 1 - 1e-5f);
                    float mean = past[channel] + own[s.components + chosen]; /* relative to the sample before */
                    float scale = expf(fmaxf(own[2 * s.components + chosen], -9.0f));
                    value = *temperature ? mean + *temperature * scale * logf(u / (1 - u)) : mean;
                    value = past[channel] = value < -1 ? -1 : value > 1 ? 1 : value; /* NaN stays */
                } else {
                    float mu = s.components - 1, companded = 2 * chosen / mu - 1;
                    value = copysignf(expm1f(fabsf(companded) * log1pf(mu)) / mu, companded);
                    past[channel] = companded;
                }
                float not_finite = 0; /* NaN if a logit is NaN or infinite, which a comparison hides */
                for (long k = 0; k < s.components; k++) not_finite += 0 * own[k];
                samples[(item * s.audio_channels + channel) * s.hop + n] = value + not_finite;
            }
        }
    }
}

void wavenet_frame(const sizes *s, const long *dilations, const float *temperature, const float *offsets,
                   const float *layers, const float *inputs, const float *biases, const float *heads, float *kept,
                   float *last, const float *noise, float *samples, long threads) {
    if (s->is_short)
        generate(*s, dilations, temperature, offsets, layers, inputs, biases, heads, kept, last, noise, samples,
                 threads, 1);
    else
        generate(*s, dilations, temperature, offsets, layers, inputs, biases, heads, kept, last, noise, samples,
                 threads, 0);
}
