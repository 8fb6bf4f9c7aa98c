// SPDX-License-Identifier: Apache-2.0
// What an object of the level avx2 must not have, so that the audit is seen to find it. Compiled
// for that level, never linked.
namespace fastconv {

// Merged by the linker with whatever other object has it.
inline float leaked_relu(float x) { return x > 0 ? x : 0; }

// Computed before anything has looked at the CPU.
float leaked_early = leaked_relu(static_cast<float>(__builtin_cpu_supports("avx2")));

}  // namespace fastconv
