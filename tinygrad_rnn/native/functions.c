/* Functions of whole arrays. What stands before it (prelude.h) computes in float. */

#define ELEMENTWISE(name) \
    void name##_all(const float *x, float *out, long n) { \
        for (long i = 0; i < n; i++) out[i] = real_##name(x[i]); \
    }

ELEMENTWISE(tanh)
ELEMENTWISE(sigmoid)

/* -log softmax(x)[id] of each row, its largest element and the sum of exp beside that. For an id that is no column
   nothing is done, and its row is given back; otherwise -1. */
long cross_entropy(const float *x, const long long *ids, float *out, float *top, float *total, long n, long width) {
    for (long i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= width) return i;
    for (long i = 0; i < n; i++, x += width) {
        float most = -INFINITY, sum = 0;
        #pragma omp simd reduction(max : most)
        for (long j = 0; j < width; j++) most = x[j] > most ? x[j] : most;
        #pragma omp simd reduction(+ : sum)
        for (long j = 0; j < width; j++) sum += real_exp(x[j] - most);
        top[i] = most;
        total[i] = sum;
        out[i] = logf(sum) - (x[ids[i]] - most);
    }
    return -1;
}

/* (softmax(x) - one at the id) g. The ids may have been written to since. */
void cross_entropy_back(const float *x, const long long *ids, const float *top, const float *total, const float *g,
                        float *out, long n, long width) {
    for (long i = 0; i < n; i++, x += width, out += width) {
        const float scale = g[i] / total[i], most = top[i];
        for (long j = 0; j < width; j++) out[j] = real_exp(x[j] - most) * scale;
        if (ids[i] >= 0 && ids[i] < width) out[ids[i]] -= g[i];
    }
}
