// Intrinsic functions: row r of the output is function r of the inputs.

extern "C" __global__ void directed(const float* a, const float* b, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float x = a[i], y = b[i];
    int row = 0;
    auto put = [&](float value) { out[row++ * n + i] = value; };
    put(__fadd_rn(x, y));
    put(__fadd_rz(x, y));
    put(__fadd_rd(x, y));
    put(__fadd_ru(x, y));
    put(__fsub_ru(x, y));
    put(__fmul_rz(x, y));
    put(__fmul_rd(x, y));
    put(__fdiv_rd(x, y));
    put(__fdiv_ru(x, y));
    put(__fsqrt_rz(fabsf(x)));
    put(__fsqrt_ru(fabsf(x)));
    put(__frcp_rd(y));
    put(__fmaf_rz(x, y, x));
    put(__fmaf_ru(x, y, x));
    put(__double2float_rz((double)x * y));
    put(__double2float_rd((double)x * y));
    put(__int2float_rd(__float_as_int(x)));
    put(__uint2float_ru(__float_as_uint(x)));
}

extern "C" __global__ void directed_doubles(const double* a, const double* b, double* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const double x = a[i], y = b[i];
    int row = 0;
    auto put = [&](double value) { out[row++ * n + i] = value; };
    put(__dadd_rd(x, y));
    put(__dadd_ru(x, y));
    put(__dmul_rz(x, y));
    put(__dmul_ru(x, y));
    put(__ddiv_rd(x, y));
    put(__ddiv_ru(x, y));
    put(__dsqrt_rz(fabs(x)));
    put(__fma_rd(x, y, x));
    put(__ll2double_rz(__double_as_longlong(x)));
}

extern "C" __global__ void special(const double* in, double* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const double x = in[i];
    int row = 0;
    auto put = [&](double value) { out[row++ * n + i] = value; };
    put(erfinv(x));
    put(erfcinv(x));
    put(normcdfinv(x));
    put(normcdf(x));
    put(erfcx(30 * x));
    put(cyl_bessel_i0(60 * x));
    put(cyl_bessel_i1(60 * x));
    put(erfinvf((float)x));
    put(normcdfinvf((float)x));
    double sine, cosine;
    sincospi(x, &sine, &cosine);
    put(sine + 2 * cosine);
    const double three[] = {x, 2 * x, 2 * x};
    put(norm(3, three));
    put(rnorm3d(x, 2 * x, 2 * x));
    put(rhypot(3 * x, 4 * x));
    put(rcbrt(x * x * x));
}

extern "C" __global__ void lanes(const unsigned* a, const unsigned* b, unsigned* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned x = a[i], y = b[i];
    int row = 0;
    auto put = [&](unsigned value) { out[row++ * n + i] = value; };
    put(__vadd2(x, y));
    put(__vadd4(x, y));
    put(__vsub4(x, y));
    put(__vaddss2(x, y));
    put(__vsubss4(x, y));
    put(__vaddus4(x, y));
    put(__vsubus2(x, y));
    put(__vabsdiffu4(x, y));
    put(__vabsdiffs2(x, y));
    put(__vavgu4(x, y));
    put(__vhaddu2(x, y));
    put(__vmaxs4(x, y));
    put(__vmaxu2(x, y));
    put(__vmins2(x, y));
    put(__vminu4(x, y));
    put(__vcmpeq4(x, y));
    put(__vcmpgts2(x, y));
    put(__vcmpleu4(x, y));
    put(__vsetges4(x, y));
    put(__vsetltu2(x, y));
    put(__vabs4(x));
    put(__vabsss2(x));
    put(__vneg2(x));
    put(__vnegss4(x));
    put(__vsads4(x, y));
    put(__vsadu2(x, y));
}

extern "C" __global__ void words(const unsigned* a, const unsigned* b, unsigned* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned x = a[i], y = b[i];
    int row = 0;
    auto put = [&](unsigned value) { out[row++ * n + i] = value; };
    put(__funnelshift_r(x, y, 13));
    put(__funnelshift_lc(x, y, y % 40));
    put(__funnelshift_rc(x, y, y % 40));
    put(__mul24((int)x, (int)y));
    put(__umul24(x, y));
    put(__umulhi(x, y));
    put((unsigned)(__umul64hi((unsigned long long)x << 32 | y, (unsigned long long)y << 32 | x) >> 32));
    put(__hadd((int)x, (int)y));
    put(__urhadd(x, y));
    put(__sad((int)x, (int)y, 7u));
    put(__usad(x, y, 7u));
    put((unsigned)__dp4a((int)x, (int)y, 3));
    put(__dp4a(x, y, 3u));
    put((unsigned)__dp2a_lo((int)x, (int)y, 3));
    put(__dp2a_hi(x, y, 3u));
    put(__fns(x, y % 32, (int)(y >> 28) - 8));
}

extern "C" __global__ void rest(const float4* in, float4* out, long long* clocks) {
    const int i = threadIdx.x;
    const long long before = clock64();
    const clock_t early = clock();
    float4 value = __ldg(&in[i]);
    value.x += __ldcg(&in[i].x) + __ldca(&in[i].y) + __ldcs(&in[i].z);
    __nanosleep(100);
    __stcg(&out[i], value);
    __threadfence();
    clocks[i] = clock64() - before + (clock() - early) * 0;
}
