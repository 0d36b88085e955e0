/* What every generated source begins with. The source says before it which type it computes in: #define REAL float,
   or double. The compiler's flags keep NaN and Inf (toolchain.py), so each ternary below is written for what a
   comparison with NaN gives, false. Nothing is `restrict`: gradients are written over what they are made of. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define REAL_PASTE_(a, b) a##b
#define REAL_PASTE(a, b) REAL_PASTE_(a, b)
#define REAL_IS_float 1 /* REAL_IS_double is no macro, so 0 in an #if */
#define REAL_IS_FLOAT REAL_PASTE(REAL_IS_, REAL)
#if REAL_IS_FLOAT
#define REAL_BITS uint32_t
#else
#define REAL_BITS uint64_t
#endif

/* ---- Elementwise functions. For float without branches and calls, so that loops over them become vectors. ---- */

#if REAL_IS_FLOAT

/* (x + x s P(s)) / Q(s) at s = x^2, Q(0) = 1: of relative error 6.7e-9 on [0, 8] by weighted linear least squares
   for tanh Q - x - x s P, its weights 1 / (tanh Q) from the round before times Lawson's, 400 rounds in double. The
   rounded coefficients were then moved by a few units in the last place to where float arithmetic errs least and
   stays below 1, so that no 1 - y^2 turns negative. Beyond 8 it is 1. Over all floats the relative error is at most
   3.0e-7 with FMA, 3.5e-7 without. */
static inline float real_tanh(float x) {
    const float s = x * x;
    float p = 1.5292537e-08f;
    p = p * s + 2.19392132e-05f;
    p = p * s + 0.00357431918f;
    p = p * s + 0.134468004f;
    float q = 8.54775351e-07f;
    q = q * s + 0.000341572682f;
    q = q * s + 0.0261748284f;
    q = q * s + 0.467801303f;
    q = q * s + 1.0f;
    const float y = (x + x * s * p) / q;
    return fabsf(x) > 8.0f ? copysignf(1.0f, x) : y;
}

/* e^x = 2^k e^r with |r| <= log(2) / 2: gives e^r, and k. e^r = 1 + r + r^2 R(r), of relative error 3.1e-9 by the same
   fit; log(2) in two parts, of which the first has 16 bits, so that k times it is exact. */
static inline float real_exp_reduced(float x, int32_t* k) {
    const float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum's last bits are the nearest integer */
    const float whole = shifted - 12582912.0f;
    const float r = (x - whole * 0.693145752f) - whole * 1.42860677e-06f;
    float p = 0.00138145406f;
    p = p * r + 0.00836874545f;
    p = p * r + 0.041668389f;
    p = p * r + 0.166665211f;
    p = p * r + 0.49999994f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits; /* unsigned, because those of NaN overflow */
    memcpy(&bits, &shifted, sizeof bits);
    *k = (int32_t)(bits - 0x4B400000u);
    return p;
}

static inline float real_power_of_two(int32_t k) {
    const uint32_t bits = ((uint32_t)k + 127u) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* Over all floats the relative error is at most 7.7e-8 with FMA, 9.8e-8 without, where the result is no denormal. */
static inline float real_exp(float x) {
    int32_t k;
    const float p = real_exp_reduced(x, &k);
    const int32_t half = k >> 1; /* two factors: k itself may pass what an exponent holds */
    const float y = p * real_power_of_two(half) * real_power_of_two((int32_t)((uint32_t)k - (uint32_t)half));
    const float bounded = x > 89.0f ? INFINITY : y; /* where k has no meaning */
    return x < -105.0f ? 0.0f : bounded;
}

/* Not by way of tanh: this is as fast, and the small values keep their digits. */
static inline float real_sigmoid(float x) {
    int32_t k;
    const float p = real_exp_reduced(-x, &k);
    const float y = 1.0f / (1.0f + p * real_power_of_two(k));
    const float bounded = x > 80.0f ? 1.0f : y;
    return x < -87.0f ? 0.0f : bounded;
}

#else

static inline double real_tanh(double x) { return tanh(x); }
static inline double real_exp(double x) { return exp(x); }

/* e^-|x| can't overflow. */
static inline double real_sigmoid(double x) {
    const double e = exp(-fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}

#endif

/* c ? a : b, of which both are loaded whatever c is: of vectors that are loaded only where c holds, several at once, GCC
   12 takes the first one's mask for all. So too nothing here is left out by && or ||. */
static inline REAL real_where(int c, REAL a, REAL b) {
    REAL_BITS x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    const REAL_BITS mask = -(REAL_BITS)(c != 0);
    x = (x & mask) | (y & ~mask);
    memcpy(&a, &x, sizeof x);
    return a;
}

/* ---- Matrix products of few rows. B is packed once, in panels of PANEL columns that tiles read in order. ---- */

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES ((long)(VECTOR_BYTES / sizeof(REAL)))
#define PANEL (2 * LANES)
#define TILE 6 /* rows: 12 sums, 2 parts of B and 1 of A fill the 16 registers of AVX */

typedef REAL real_vector __attribute__((vector_size(VECTOR_BYTES)));

static inline real_vector load_vector(const REAL* from) {
    real_vector v;
    memcpy(&v, from, sizeof v);
#if defined(__GNUC__) && defined(__x86_64__)
    __asm__("" : "+x"(v)); /* in a register: GCC would read it anew for every row, and reading is the bottleneck */
#endif
    return v;
}

/* How many elements the packed B[k, m] has. */
static inline long packed_size(long k, long m) { return (m + PANEL - 1) / PANEL * PANEL * k; }

/* out[j * ldo + i] = b[i * ldb + j] for i < k and j < m, float in squares of 4 where the compiler can move lanes about. */
static inline void transpose(long k, long m, const REAL* b, long ldb, REAL* out, long ldo) {
    long i = 0;
#if REAL_IS_FLOAT && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
    typedef REAL quad __attribute__((vector_size(4 * sizeof(REAL))));
    for (; i + 4 <= k; i += 4) {
        long j = 0;
        for (; j + 4 <= m; j += 4) {
            quad row[4], pair[4], column[4];
            for (int u = 0; u < 4; u++) memcpy(&row[u], b + (i + u) * ldb + j, sizeof(quad));
            for (int u = 0; u < 2; u++) {
                pair[u] = __builtin_shufflevector(row[2 * u], row[2 * u + 1], 0, 4, 1, 5);
                pair[2 + u] = __builtin_shufflevector(row[2 * u], row[2 * u + 1], 2, 6, 3, 7);
            }
            for (int u = 0; u < 2; u++) {
                column[2 * u] = __builtin_shufflevector(pair[2 * u], pair[2 * u + 1], 0, 1, 4, 5);
                column[2 * u + 1] = __builtin_shufflevector(pair[2 * u], pair[2 * u + 1], 2, 3, 6, 7);
            }
            for (int u = 0; u < 4; u++) memcpy(out + (j + u) * ldo + i, &column[u], sizeof(quad));
        }
        for (; j < m; j++)
            for (long u = i; u < i + 4; u++) out[j * ldo + u] = b[u * ldb + j];
    }
#endif
#endif
    for (; i < k; i++)
        for (long j = 0; j < m; j++) out[j * ldo + i] = b[i * ldb + j];
}

/* Packs B[k, m], whose element (i, j) lies at b[i * rs + j * cs], its last panel filled up with zeros. With `out` at a
   multiple of 64 bytes, products of up to 3 rows are a quarter faster. */
static inline void pack(const REAL* b, long rs, long cs, long k, long m, REAL* out) {
    for (long from = 0; from < m; from += PANEL, b += PANEL * cs, out += k * PANEL) {
        const long width = m - from < PANEL ? m - from : PANEL;
        if (rs == 1) transpose(width, k, b, cs, out, PANEL);
        for (long i = 0; i < k; i++) {
            for (long j = 0; rs != 1 && j < width; j++) out[i * PANEL + j] = b[i * rs + j * cs];
            for (long j = width; j < PANEL; j++) out[i * PANEL + j] = 0;
        }
    }
}

/* One panel times `rows` rows, `rows` and `unroll` known where this is inlined: of few rows, several steps along k are
   summed apart, for there must be about eight sums at work to hide how long one takes. */
static inline __attribute__((always_inline)) void gemm_tile(int rows, int unroll, long k, const REAL* a, long lda,
                                                            const REAL* panel, REAL* out, long ldo, long width,
                                                            int add) {
    real_vector sum[TILE][2];
    for (int r = 0; r < rows * unroll; r++) sum[r][0] = sum[r][1] = (real_vector){0};
    long i = 0;
    for (; i + unroll <= k; i += unroll) {
        for (int u = 0; u < unroll; u++) {
            const REAL* line = panel + (i + u) * PANEL;
            const real_vector left = load_vector(line), right = load_vector(line + LANES);
            for (int r = 0; r < rows; r++) {
                const REAL factor = a[r * lda + i + u];
                sum[u * rows + r][0] += factor * left;
                sum[u * rows + r][1] += factor * right;
            }
        }
    }
    for (; i < k; i++) {
        const real_vector left = load_vector(panel + i * PANEL), right = load_vector(panel + i * PANEL + LANES);
        for (int r = 0; r < rows; r++) {
            const REAL factor = a[r * lda + i];
            sum[r][0] += factor * left;
            sum[r][1] += factor * right;
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int u = 1; u < unroll; u++) {
            sum[r][0] += sum[u * rows + r][0];
            sum[r][1] += sum[u * rows + r][1];
        }
        REAL* to = out + r * ldo;
        if (width == PANEL) {
            if (add) {
                sum[r][0] += load_vector(to);
                sum[r][1] += load_vector(to + LANES);
            }
            memcpy(to, sum[r], 2 * sizeof(real_vector));
        } else {
            REAL line[PANEL];
            memcpy(line, sum[r], sizeof line);
            for (long j = 0; j < width; j++) to[j] = add ? to[j] + line[j] : line[j];
        }
    }
}

/* No inline, lest every call of a source be compiled with all its tiles. */
static __attribute__((noinline, unused)) void gemm_any(long n, long k, long m, const REAL* a, long lda,
                                                       const REAL* packed, REAL* out, long ldo, int add) {
    const long tiles = (n + TILE - 1) / TILE;
    for (long from = 0; from < m; from += PANEL, packed += k * PANEL) {
        const long width = m - from < PANEL ? m - from : PANEL;
        for (long t = 0, row = 0; t < tiles; t++) {
            const long rows = n * (t + 1) / tiles - row; /* tiles as even as can be */
            const REAL* x = a + row * lda;
            REAL* y = out + row * ldo + from;
            row += rows;
            switch (rows) {
            case 1: gemm_tile(1, 4, k, x, lda, packed, y, ldo, width, add); break;
            case 2: gemm_tile(2, 2, k, x, lda, packed, y, ldo, width, add); break;
            case 3: gemm_tile(3, 2, k, x, lda, packed, y, ldo, width, add); break;
            case 4: gemm_tile(4, 1, k, x, lda, packed, y, ldo, width, add); break;
            case 5: gemm_tile(5, 1, k, x, lda, packed, y, ldo, width, add); break;
            default: gemm_tile(6, 1, k, x, lda, packed, y, ldo, width, add);
            }
        }
    }
}

/* out[n, m] = a[n, k] B, or added to it; lda and ldo are the elements from row to row. out may not overlap a. */
static inline void gemm(long n, long k, long m, const REAL* a, long lda, const REAL* packed, REAL* out, long ldo) {
    gemm_any(n, k, m, a, lda, packed, out, ldo, 0);
}
static inline void gemm_add(long n, long k, long m, const REAL* a, long lda, const REAL* packed, REAL* out, long ldo) {
    gemm_any(n, k, m, a, lda, packed, out, ldo, 1);
}

/* ---- Rows moved. ---- */

static inline void gather_rows(long n, long width, const REAL* src, const long long* index, REAL* out, long ldo) {
    for (long i = 0; i < n; i++) memcpy(out + i * ldo, src + index[i] * width, (size_t)width * sizeof(REAL));
}

/* An index may come several times. */
static inline void scatter_add_rows(long n, long width, const REAL* rows, long ldr, const long long* index, REAL* out) {
    for (long i = 0; i < n; i++) {
        const REAL* from = rows + i * ldr;
        REAL* to = out + index[i] * width;
        for (long j = 0; j < width; j++) to[j] += from[j];
    }
}

static inline void add_rows(long n, long width, const REAL* rows, long ldr, REAL* out) {
    for (long i = 0; i < n; i++)
        for (long j = 0; j < width; j++) out[i * width + j] += rows[i * ldr + j];
}
