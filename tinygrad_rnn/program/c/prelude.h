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
