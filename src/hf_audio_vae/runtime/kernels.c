/* Kernels of convolutional autoencoders on rows: one row per time step, its channels contiguous.

   The number of channels is a multiple of WIDTH; weights are padded with zeros when they are packed.
   Factors and sums are those of `vectors.h`. */

#include "vectors.h"

long width(void) { return WIDTH; }

/* ---- Snake, x + sin²(frequency x) magnitude ---- */

/* Reduce an angle by whole half turns, which do not change squares and products of sine and cosine. */
INLINE vector within_half_turn(vector angle) {
    const float whole = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    vector turns = (angle * 0x1.45f306p-2f + whole) - whole;
    vector r = angle - turns * 3.140625f; /* pi in three parts, so that products are (almost) exact */
    r = r - turns * 9.67502593994140625e-4f;
    r = r - turns * 1.50995799097837643e-7f;
    return (vector)((integers)r & ~((r >= 2.0f) | (r <= -2.0f))); /* past 2^22 half turns the phase is lost: 0 */
}

/* Sine on [-pi/2, pi/2]: the minimax odd polynomial of degree 9, relative error 5e-9. */
INLINE vector sine(vector r) {
    vector z = r * r;
    vector p = ((0x1.5e2a3ep-19f * z - 0x1.9f781ap-13f) * z + 0x1.110f02p-7f) * z - 0x1.55554ep-3f;
    return r + r * z * p;
}

INLINE vector snake(vector x, vector frequency, vector magnitude) {
    vector s = sine(within_half_turn(frequency * x));
    return x + magnitude * s * s;
}

INLINE float sum(vector x) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

/* Snake along time, (rows, time), with one frequency and magnitude per row. */
void snake_forward(const float *x, float *y, long rows, long time, const float *frequency, const float *magnitude,
                   long threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; row++)
        for (long t = row * time; t < (row + 1) * time; t += LANES) {
            long count = (row + 1) * time - t;
            store_some(y + t, snake(load_some(x + t, count), frequency[row] + (vector){}, magnitude[row] + (vector){}),
                       count);
        }
}

#define SUMMED 4096 /* number of terms summed in float32 before they are added in float64 */

/* Gradients of x and of the frequency and magnitude of each row. */
void snake_backward(const float *gradient, const float *x, float *of_x, float *of_frequency, float *of_magnitude,
                    long rows, long time, const float *frequency, const float *magnitude,
                   long threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; row++) {
        double frequency_sum = 0, magnitude_sum = 0;
        const float slope = 2 * magnitude[row];
        for (long first = 0; first < time; first += SUMMED) {
            vector frequencies = {}, magnitudes = {};
            for (long t = first; t < SMALLER(first + SUMMED, time); t += LANES) {
                long place = row * time + t, count = time - t;
                vector above = load_some(gradient + place, count), value = load_some(x + place, count);
                vector r = within_half_turn(frequency[row] * value);
                vector s = sine(r), half = sine(0.5f * r);
                vector cosine = 1.0f - 2.0f * half * half;
                vector turned = slope * above * s * cosine;
                store_some(of_x + place, above + frequency[row] * turned, count);
                frequencies += turned * value;
                magnitudes += above * s * s;
            }
            frequency_sum += sum(frequencies);
            magnitude_sum += sum(magnitudes);
        }
        of_frequency[row] = frequency_sum;
        of_magnitude[row] = magnitude_sum;
    }
}

/* Snake across channels, (rows, channels), stored as factors. */
void activate(const float *x, factor *y, long rows, long channels, const float *frequency, const float *magnitude,
                   long threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < rows; row++)
        for (long c = 0; c < channels; c += LANES)
            store_factors(y + row * channels + c,
                          snake(load(x + row * channels + c), load(frequency + c), load(magnitude + c)));
}

/* ---- matrix products ---- */

/* sums[row][WIDTH] += a[row][depth] b[depth][WIDTH] for a few rows, `stride` apart. */
INLINE void add_products(const int rows, vector sums[][2], const factor *a, long stride, long depth, const factor *b) {
    for (long k = 0; k < depth; k += DEPTH, b += WIDTH * DEPTH) {
        factors b0 = load_factors(b), b1 = load_factors(b + LANES * DEPTH);
        UNROLL for (int row = 0; row < rows; row++) {
            sums[row][0] = add_product(sums[row][0], a + row * stride + k, b0);
            sums[row][1] = add_product(sums[row][1], a + row * stride + k, b1);
        }
    }
}

/* y = start + added + a b; `start` is the bias (one row for all rows) or the previous content of y. */
INLINE void product_of_rows(const int rows, const factor *a, long stride, long depth, const factor *b, const float *start,
                            long start_stride, const float *added, float *y, long columns) {
    vector sums[HEIGHT][2];
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int half = 0; half < 2; half++) {
            sums[row][half] = start ? load(start + row * start_stride + half * LANES) : (vector){};
            if (added) sums[row][half] += load(added + row * columns + half * LANES);
        }
    }
    add_products(rows, sums, a, stride, depth, b);
    UNROLL for (int row = 0; row < rows; row++) {
        UNROLL for (int half = 0; half < 2; half++) store(y + row * columns + half * LANES, sums[row][half]);
    }
}

/* `product_of_rows` for any number of rows. */
static void panel_product(long rows, const factor *a, long stride, long depth, const factor *b, const float *start,
                          long start_stride, const float *added, float *y, long columns) {
    long row = 0;
#define ROWS(n)                                                                                                      \
    for (; row + n <= rows; row += n)                                                                                \
        product_of_rows(n, a + row * stride, stride, depth, b, start ? start + row * start_stride : 0, start_stride, \
                        added ? added + row * columns : 0, y + row * columns, columns);
    ROWS(HEIGHT) ROWS(4) ROWS(1)
#undef ROWS
}

#define DEPTH_AT_ONCE 512 /* so that a panel of weights (WIDTH columns) stays in the cache for all rows */
#define ROWS_AT_ONCE 240

/* Convolution as a product: row t of y is bias + residual + sum over taps of a[t * stride + tap * tap_stride] weights.
   Weights are panels of WIDTH columns; a panel holds the depths of all taps, tap after tap. */
void convolve(const factor *a, long stride, long taps, long tap_stride, long depth, const factor *weights,
              const float *bias, const float *residual, float *y, long rows, long columns, long threads) {
    long panels = columns / WIDTH, blocks = (rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
#pragma omp parallel for schedule(dynamic) collapse(2) num_threads(threads)
    for (long panel = 0; panel < panels; panel++)
        for (long block = 0; block < blocks; block++) {
            long first = block * ROWS_AT_ONCE, count = SMALLER(ROWS_AT_ONCE, rows - first), column = panel * WIDTH;
            const factor *b = weights + panel * taps * depth * WIDTH;
            float *out = y + first * columns + column;
            for (long tap = 0; tap < taps; tap++)
                for (long k = 0; k < depth; k += DEPTH_AT_ONCE) {
                    long some = SMALLER(DEPTH_AT_ONCE, depth - k);
                    int begins = tap == 0 && k == 0;
                    panel_product(count, a + first * stride + tap * tap_stride + k, stride, some, b,
                                  begins ? bias + column : out, begins ? 0 : columns,
                                  begins && residual ? residual + first * columns + column : 0, out, columns);
                    b += some * WIDTH;
                }
        }
}

/* ---- seven-tap convolution by the discrete Fourier transform of 16 samples ----

   A product of spectra is a circular convolution: with 16 samples and 7 taps, 10 results equal the linear convolution.
   A real signal has 2 real and 7 complex values; a complex product takes 3 real ones (Gauss). So 10 outputs cost 23
   products instead of 70. */

#define TAPS 7
#define SAMPLES 16
#define RESULTS (SAMPLES - TAPS + 1)
#define PRODUCTS 23
#define COS_1 0.92387953251128674f /* cosine of pi / 8 */
#define COS_2 0.70710678118654752f
#define COS_3 0.38268343236508977f

/* Transform of 8 real values: real and imaginary parts of 0 to 4, without the imaginary parts that are 0. */
INLINE void transform_8(vector x0, vector x1, vector x2, vector x3, vector x4, vector x5, vector x6, vector x7,
                        vector *real, vector *imaginary) {
    vector e0 = x0 + x4, e1 = x2 + x6, o0 = x1 + x5, o1 = x3 + x7;
    vector e_real = x0 - x4, e_imaginary = x6 - x2, o_real = x1 - x5, o_imaginary = x7 - x3;
    vector p_real = COS_2 * (o_real + o_imaginary), p_imaginary = COS_2 * (o_imaginary - o_real);
    real[0] = (e0 + e1) + (o0 + o1);
    real[4] = (e0 + e1) - (o0 + o1);
    real[2] = e0 - e1;
    imaginary[2] = o1 - o0;
    real[1] = e_real + p_real;
    imaginary[1] = e_imaginary + p_imaginary;
    real[3] = e_real - p_real;
    imaginary[3] = p_imaginary - e_imaginary;
}

/* Transpose of `transform_8`: from values at 0 to 4 to eight sums of them. */
INLINE void transposed_8(const vector *real, const vector *imaginary, vector *x) {
    vector even = real[0] + real[4], odd = real[0] - real[4];
    vector e0 = even + real[2], e1 = even - real[2], o0 = odd - imaginary[2], o1 = odd + imaginary[2];
    vector e_real = real[1] + real[3], e_imaginary = imaginary[1] - imaginary[3];
    vector p_real = real[1] - real[3], p_imaginary = imaginary[1] + imaginary[3];
    vector o_real = COS_2 * (p_real - p_imaginary), o_imaginary = COS_2 * (p_real + p_imaginary);
    x[0] = e0 + e_real;
    x[4] = e0 - e_real;
    x[2] = e1 - e_imaginary;
    x[6] = e1 + e_imaginary;
    x[1] = o0 + o_real;
    x[5] = o0 - o_real;
    x[3] = o1 - o_imaginary;
    x[7] = o1 + o_imaginary;
}

static const float COSINES[4] = {1, COS_1, COS_2, COS_3}, SINES[4] = {0, COS_3, COS_2, COS_1};

/* Factors of one tile: 16 rows, `stride` apart, to PRODUCTS rows, `plane` apart. */
INLINE void spectrum_of_rows(const float *x, long stride, factor *v, long plane) {
    vector even_real[5], even_imaginary[4], odd_real[5], odd_imaginary[4];
#define X(n) load(x + (n) * stride)
    transform_8(X(0), X(2), X(4), X(6), X(8), X(10), X(12), X(14), even_real, even_imaginary);
    transform_8(X(1), X(3), X(5), X(7), X(9), X(11), X(13), X(15), odd_real, odd_imaginary);
#undef X
    store_factors(v, even_real[0] + odd_real[0]);
    store_factors(v + plane, even_real[0] - odd_real[0]);
    UNROLL for (int k = 1; k < 8; k++) {
        vector real, imaginary;
        if (k == 4) {
            real = even_real[4];
            imaginary = -odd_real[4];
        } else {
            int j = k < 4 ? k : 8 - k;
            vector p_real = COSINES[j] * odd_real[j] + SINES[j] * odd_imaginary[j];
            vector p_imaginary = COSINES[j] * odd_imaginary[j] - SINES[j] * odd_real[j];
            real = k < 4 ? even_real[j] + p_real : even_real[j] - p_real;
            imaginary = k < 4 ? even_imaginary[j] + p_imaginary : p_imaginary - even_imaginary[j];
        }
        factor *triple = v + (3 * k - 1) * plane;
        store_factors(triple, real + imaginary);
        store_factors(triple + plane, real);
        store_factors(triple + 2 * plane, imaginary);
    }
}

/* From PRODUCTS rows, `plane` apart, to 16 sums of which the first RESULTS are a tile's convolution. */
INLINE void rows_of_spectrum(const float *u, long plane, vector *x) {
    vector real[8], imaginary[8];
    vector even_real[5], even_imaginary[4], odd_real[5], odd_imaginary[4], even[8], odd[8];
    vector first = load(u), last = load(u + plane);
    UNROLL for (int k = 1; k < 8; k++) {
        const float *triple = u + (3 * k - 1) * plane;
        vector both = load(triple);
        real[k] = both - load(triple + 2 * plane);
        imaginary[k] = both + load(triple + plane);
    }
    even_real[0] = first + last;
    odd_real[0] = first - last;
    even_real[4] = real[4];
    odd_real[4] = -imaginary[4];
    UNROLL for (int j = 1; j < 4; j++) {
        vector p_real = real[j] - real[8 - j], p_imaginary = imaginary[j] + imaginary[8 - j];
        even_real[j] = real[j] + real[8 - j];
        even_imaginary[j] = imaginary[j] - imaginary[8 - j];
        odd_real[j] = COSINES[j] * p_real - SINES[j] * p_imaginary;
        odd_imaginary[j] = SINES[j] * p_real + COSINES[j] * p_imaginary;
    }
    transposed_8(even_real, even_imaginary, even);
    transposed_8(odd_real, odd_imaginary, odd);
    UNROLL for (int n = 0; n < 8; n++) {
        x[2 * n] = even[n];
        x[2 * n + 1] = odd[n];
    }
}

#define TILES 36 /* tiles per block: a multiple of HEIGHT and of the dilations 1, 3, 9 */

static long tiles_a_phase(long dilation) { return dilation < TILES ? TILES / dilation : 1; }

/* Floats that each thread needs for `residual_unit`. */
long unit_scratch(long channels, long dilation) {
    long tiles = dilation * tiles_a_phase(dilation), rows = RESULTS * tiles + (TAPS - 1) * dilation;
    return channels * (2 * rows + PRODUCTS * tiles) + PRODUCTS * tiles * WIDTH;
}

/* Row t of y is x[t + left] plus the branch of the unit, which reads x[t] to x[t + 6 dilation]: Snake, seven taps,
   Snake, one tap. `spectra` are PRODUCTS matrices for each panel of WIDTH columns, `weights` the panels of the last
   convolution. */
void residual_unit(const float *x, float *y, long rows, long channels, long left, long dilation,
                   const float *frequency_1, const float *magnitude_1, const factor *spectra, const float *bias_1,
                   const float *frequency_2, const float *magnitude_2, const factor *weights, const float *bias_2,
                   float *scratch, long threads) {
    long reach = (TAPS - 1) * dilation, step = RESULTS * dilation * tiles_a_phase(dilation);
    long most_rows = step + reach, most_tiles = dilation * tiles_a_phase(dilation);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (long first = 0; first < rows; first += step) {
        float *own = scratch + omp_get_thread_num() * unit_scratch(channels, dilation);
        float *activated = own, *products = activated + most_rows * channels;
        factor *spectrum = (factor *)(products + PRODUCTS * most_tiles * WIDTH);
        factor *hidden = (factor *)(products + PRODUCTS * most_tiles * (WIDTH + channels));
        long count = SMALLER(step, rows - first), there = count + reach;
        long tiles = dilation * ((count + RESULTS * dilation - 1) / (RESULTS * dilation));
        long needed = RESULTS * tiles + reach;
        const float *from = x + first * channels;
        for (long row = 0; row < there; row++)
            for (long c = 0; c < channels; c += LANES)
                store(activated + row * channels + c,
                      snake(load(from + row * channels + c), load(frequency_1 + c), load(magnitude_1 + c)));
        memset(activated + there * channels, 0, (needed - there) * channels * sizeof(float));
        for (long tile = 0; tile < tiles; tile++) {
            const float *begin = activated + (tile / dilation * RESULTS * dilation + tile % dilation) * channels;
            for (long c = 0; c < channels; c += LANES)
                spectrum_of_rows(begin + c, dilation * channels, spectrum + tile * channels + c, tiles * channels);
        }
        for (long column = 0; column < channels; column += WIDTH) {
            const factor *b = spectra + column * PRODUCTS * channels;
            for (long p = 0; p < PRODUCTS; p++)
                panel_product(tiles, spectrum + p * tiles * channels, channels, channels, b + p * channels * WIDTH, 0, 0,
                              0, products + p * tiles * WIDTH, WIDTH);
            for (long half = 0; half < 2; half++) {
                long c = column + half * LANES;
                vector bias = load(bias_1 + c), frequency = load(frequency_2 + c), magnitude = load(magnitude_2 + c);
                for (long tile = 0; tile < tiles; tile++) {
                    long begin = tile / dilation * RESULTS * dilation + tile % dilation;
                    vector results[SAMPLES];
                    rows_of_spectrum(products + tile * WIDTH + half * LANES, tiles * WIDTH, results);
                    UNROLL for (int n = 0; n < RESULTS; n++) {
                        store_factors(hidden + (begin + n * dilation) * channels + c,
                                      snake(results[n] + bias, frequency, magnitude));
                    }
                }
            }
        }
        for (long column = 0; column < channels; column += WIDTH)
            panel_product(count, hidden, channels, channels, weights + column * channels, bias_2 + column, 0,
                          from + left * channels + column, y + first * channels + column, channels);
    }
}
