// Mathematical functions: row r of the output is function r of the input.

extern "C" __global__ void singles(const float* in, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float x = in[i];
    int row = 0;
    auto put = [&](float value) { out[row++ * n + i] = value; };
    put(sqrtf(x));
    put(rsqrtf(x));
    put(expf(x));
    put(logf(x));
    put(sinf(x));
    put(cosf(x));
    put(tanhf(x));
    put(powf(x, 1.5f));
    put(fmaf(x, x, 1.0f));
    put(fminf(x, 1.0f));
    put(fmaxf(x, 1.0f));
    put(floorf(x));
    put(erff(x));
    put(__expf(x));
    put(__logf(x));
    put(__sinf(x));
    put(__powf(x, 2.0f));
    put(__fdividef(x, 3.0f));
    put(__saturatef(x - 0.5f));
    put(sinpif(x));
    put(cbrtf(x));
    put(exp2f(x));
    put(log1pf(x));
    put(hypotf(x, 2.0f));
    put(fmodf(x, 0.7f));
    put(fabsf(-x));
    put(max(x, 1.5f) + min(x, 2.0f));
    put(__frcp_rn(x));
}

extern "C" __global__ void doubles(const double* in, double* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const double x = in[i];
    int row = 0;
    auto put = [&](double value) { out[row++ * n + i] = value; };
    put(sqrt(x));
    put(rsqrt(x));
    put(exp(x));
    put(log(x));
    put(sin(x));
    put(pow(x, 3.0));
    put(fma(x, x, -x));
    put(cospi(x));
    put(max(x, 1.0));
    put(copysign(x, -1.0));
}

extern "C" __global__ void integers(const int* in, int* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int x = in[i];
    int row = 0;
    auto put = [&](int value) { out[row++ * n + i] = value; };
    put(__popc(x));
    put(__clz(x));
    put(__ffs(x));
    put(__brev(x));
    put(__mulhi(x, 123456789));
    put(min(x, 7));
    put(max(x, -7));
    put(abs(x));
    put(__float2int_rn(x * 0.5f));
    put(__float_as_int((float)x));
    put(__byte_perm(x, 0x12345678, 0x5140));
    put(__funnelshift_l(x, 0x9abcdef0, 8));
    put(__popcll((long long)x));
    put(__float2int_rz(1e20f) / 2 + __float2int_rz(-1e20f) / 2);
    put((int)umin((unsigned)x, 9u));
}
