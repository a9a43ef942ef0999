// A step for every body: its velocity by the attraction of all, then its place. Bodies pass through shared memory in
// tiles of a block's size. Reads only `bodies` and writes only `moved`, so the order of the blocks does not matter.
extern "C" __global__ void leap(const float4 *bodies, float4 *velocities, float4 *moved, int n, float dt,
                                float softening2) {
    extern __shared__ float4 tile[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float4 me = i < n ? bodies[i] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float ax = 0.0f, ay = 0.0f, az = 0.0f;
    for (int start = 0; start < n; start += blockDim.x) {
        int other = start + threadIdx.x;
        tile[threadIdx.x] = other < n ? bodies[other] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);   // without mass
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < blockDim.x; ++k) {
            float dx = tile[k].x - me.x, dy = tile[k].y - me.y, dz = tile[k].z - me.z;
            float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + softening2);
            float pull = tile[k].w * inverse * inverse * inverse;
            ax += pull * dx;
            ay += pull * dy;
            az += pull * dz;
        }
        __syncthreads();
    }
    if (i >= n) return;
    float4 v = velocities[i];
    v.x += dt * ax;
    v.y += dt * ay;
    v.z += dt * az;
    velocities[i] = v;
    moved[i] = make_float4(me.x + dt * v.x, me.y + dt * v.y, me.z + dt * v.z, me.w);
}
