// Minimax coefficients, lowest power first; printed by tools/fit_coefficients.py, which says
// what each fits.
// clang-format off
#pragma once

namespace oj {

inline constexpr float expm1_f32[] = {
    0x1p-1f, 0x1.55552ap-3f, 0x1.5554fep-5f, 0x1.115764p-7f,
    0x1.6d34e6p-10f, 0x1.3b41f4p-13f,
};
inline constexpr float tanh_f32[] = {
    -0x1.55554ap-2f, 0x1.110ceep-3f, -0x1.b91e82p-5f, 0x1.58e558p-6f,
    -0x1.992394p-8f,
};
inline constexpr float exp2_f32[] = {
    0x1.62e43p-1f, 0x1.ebfc88p-3f, 0x1.c6b02p-5f, 0x1.3aac5p-7f,
    0x1.5e92f6p-10f, 0x1.9839b6p-13f,
};
inline constexpr double expm1_f64[] = {
    0x1p-1, 0x1.555555555555ap-3, 0x1.555555555555dp-5, 0x1.111111110f0a7p-7,
    0x1.6c16c16c119p-10, 0x1.a01a01b26a213p-13, 0x1.a01a01c303a0dp-16, 0x1.71ddf1d2e3d46p-19,
    0x1.27e499fcaa131p-22, 0x1.af6a314b65fcp-26, 0x1.1fd963d5bde9ap-29,
};
inline constexpr double tanh_f64[] = {
    -0x1.5555555555555p-2, 0x1.111111111108p-3, -0x1.ba1ba1ba10e27p-5, 0x1.664f487f8e8ap-6,
    -0x1.226e34cf7ca51p-7, 0x1.d6d3b1057d6d8p-9, -0x1.7da1041570e27p-10, 0x1.3539064c6e01fp-11,
    -0x1.f34a158e415a8p-13, 0x1.88d94c68e59ddp-14, -0x1.11376b4b81e45p-15, 0x1.e4cfd726085c9p-18,
};
inline constexpr double exp2_f64[] = {
    0x1.62e42fefa39efp-1, 0x1.ebfbdff82c5adp-3, 0x1.c6b08d704a221p-5, 0x1.3b2ab6fb9e9f7p-7,
    0x1.5d87fe785ec22p-10, 0x1.4309131388ffep-13, 0x1.ffcbfdc5ab0dfp-17, 0x1.62bfbbcb88f05p-20,
    0x1.b52213205cceep-24, 0x1.e62fa31c72b7p-28, 0x1.ee3b8a3961482p-32,
};
inline constexpr float log_f32[] = {
    0x1.555546p-2f, -0x1.000002p-2f, 0x1.99a582p-3f, -0x1.555fp-3f,
    0x1.23285ep-3f, -0x1.fba946p-4f, 0x1.e75e46p-4f, -0x1.e16364p-4f,
    0x1.1742f2p-4f,
};
inline constexpr double atanh_f64[] = {
    0x1.5555555555555p-1, 0x1.9999999999d2dp-2, 0x1.249249243616fp-2, 0x1.c71c725053922p-3,
    0x1.745ce00c2ff88p-3, 0x1.3b2076c1d0cc6p-3, 0x1.0f5f98c5d2b01p-3, 0x1.0f569b67589b2p-3,
};
inline constexpr double pow_log_f64[] = {
    0x1.999999999999ap-2, 0x1.2492492492365p-2, 0x1.c71c71c747586p-3, 0x1.745d172c49062p-3,
    0x1.3b13ba20a7792p-3, 0x1.110f2ae793003p-3, 0x1.e26142c8a413ap-4, 0x1.a55bd12bb4921p-4,
    0x1.ea04dc0f2697cp-4,
};
inline constexpr double pow_log2_f64[] = {
    0x1.71547652b55fbp+0, -0x1.7154765194a81p-1, 0x1.ec709de4e026ep-2, -0x1.715478c84325ep-2,
    0x1.2776b6675de0ap-2, -0x1.ec6f0cc2a234dp-3, 0x1.a61b75d11d5bap-3, -0x1.718c4c4ac5a4bp-3,
    0x1.4824624367fedp-3, -0x1.23af7fdf68589p-3, 0x1.0a7640320b884p-3, -0x1.143450810251dp-3,
    0x1.1142a1905982p-3, -0x1.2044f1e1124dcp-4,
};
inline constexpr double pow_exp2_f64[] = {
    0x1.62e430dd7ab1cp-1, 0x1.ebfc282218f7dp-3, 0x1.c6aecc16f1557p-5, 0x1.3af34b175a2b4p-7,
    0x1.5f4a54745ccbap-10, 0x1.6a2cabc4eec02p-13,
};
inline constexpr float sin_f32[] = {
    -0x1.555544p-3f, 0x1.1106bp-7f, -0x1.991006p-13f,
};
inline constexpr float cos_f32[] = {
    0x1.55554ap-5f, -0x1.6c0c04p-10f, 0x1.99d65ap-16f,
};
inline constexpr double sin_f64[] = {
    -0x1.5555555555546p-3, 0x1.111111110f3a5p-7, -0x1.a01a019b6e352p-13, 0x1.71de34e47ed24p-19,
    -0x1.ae5defa65a44ep-26, 0x1.5d6fdf8f31792p-33,
};
inline constexpr double cos_f64[] = {
    0x1.5555555555549p-5, -0x1.6c16c16c14b8dp-10, 0x1.a01a019c19274p-16, -0x1.27e4f79933ffcp-22,
    0x1.1ee99dd96408fp-29, -0x1.8f85921bb3885p-37,
};
inline constexpr double atan_f64[] = {
    -0x1.555555555553dp-2, 0x1.9999999995877p-3, -0x1.24924922ada88p-3, 0x1.c71c70e61d3bfp-4,
    -0x1.745cf8dbcca65p-4, 0x1.3b1118e6dc56p-4, -0x1.10ebb3f53adb2p-4, 0x1.df0eefd9d226bp-5,
    -0x1.9cd0a1b6f2a54p-5, 0x1.37cf0b9bbb3c9p-5, -0x1.25593a6dfb3cbp-6,
};
inline constexpr double asin_f64[] = {
    0x1.5555555555578p-3, 0x1.333333332df1cp-4, 0x1.6db6db722b0a3p-5, 0x1.f1c71a8bbf29bp-6,
    0x1.6e8bdfe2e187cp-6, 0x1.1c49de42af9dfp-6, 0x1.ca213e48e6641p-7, 0x1.7577be0eafaep-7,
    0x1.6189a730a7456p-7, 0x1.e16bb6170c4d9p-9, 0x1.64fce8b05ff93p-6, -0x1.59ef226aeb119p-6,
    0x1.0be20811429ddp-5,
};
inline constexpr float erf_f32[] = {
    0x1.06eba8p-3f, -0x1.81274p-2f, 0x1.ce2d6p-4f, -0x1.b8008p-6f,
    0x1.544262p-8f, -0x1.a5b9fcp-11f, 0x1.4e4308p-14f,
};
inline constexpr double erf_f64[] = {
    0x1.06eba8214db68p-3, -0x1.812746b03799cp-2, 0x1.ce2f21a03f797p-4, -0x1.b82ce311a2ca3p-6,
    0x1.565bccedb6472p-8, -0x1.c02dae80d18fp-11, 0x1.f9a290b50360ap-14, -0x1.f4c7c53f30a91p-17,
    0x1.b966c4a86916p-20, -0x1.5b6d8920202d4p-23, 0x1.d2f51c9ff9113p-27, -0x1.9f526dc9da6f5p-31,
};
inline constexpr float erfc_log_f32[] = {
    0x1.0778dap-3f, 0x1.45329p-1f, 0x1.b3254ep-4f, -0x1.8550c8p-6f,
    0x1.dd6a4ep-9f, -0x1.52767ep-12f, 0x1.78c6a2p-17f,
};
inline constexpr double erfcx_f64[] = {
    0x1.3ba5916e9fd7fp+0, -0x1.1df1ad154a184p-3, 0x1.f7f5df66fb465p-7, 0x1.16ecefcf95e3ep-4,
    -0x1.9ddb23c3dc2fcp-4, 0x1.7fee005029da4p-4, -0x1.0fb06dfee6d26p-4, 0x1.3079edb32a447p-5,
    -0x1.0962388d178fcp-6, 0x1.49c685353920cp-8, -0x1.8d4a684763344p-11, -0x1.a1eb9b5c154c9p-13,
    0x1.3bd938cd7ca92p-13, -0x1.980e4a799c169p-16, -0x1.768200eeb1302p-17, 0x1.748d32f40b04bp-18,
    0x1.1e1a7e73f2fabp-23, -0x1.56a3b0749ed4dp-21, 0x1.5ae6a233b3084p-22, 0x1.7a16b3ee0eaa4p-27,
    -0x1.e81ab3757f7fbp-23, -0x1.be50b6edee285p-26, 0x1.470b0ee3e7723p-24, 0x1.d256a8616532fp-26,
};
inline constexpr double lgamma1_f64[] = {
    -0x1.2788cfc6fb619p-1, 0x1.a51a6625307b1p-1, -0x1.9a4d55beaa16p-2, 0x1.151322ad07253p-2,
    -0x1.a8b9c1eedcd4fp-3, 0x1.5b40dd64c137p-3, -0x1.27054533fd3dep-3, 0x1.01237a474151dp-3,
    -0x1.c9f84dd530a94p-4, 0x1.a8611a7079759p-4, -0x1.c2de99d47feb6p-4, 0x1.4a1782b51b0ebp-3,
    -0x1.41e86120701ffp-2, 0x1.3923b7ab5e36ap-1, -0x1.efd764431a8ep-1, 0x1.21c93de7be7d6p+0,
    -0x1.cf1865c5eff1ep-1, 0x1.c1faa3d9afee2p-2, -0x1.906f48a5de3dep-4,
};
inline constexpr double lgamma2_f64[] = {
    0x1.b0ee6072093cep-2, 0x1.4a34cc4a60fa8p-2, -0x1.13e001a55757p-4, 0x1.51322ac7d741ap-6,
    -0x1.e404fc21b67dbp-8, 0x1.7add6eaf403a4p-9, -0x1.38ac5c1d4cdb3p-10, 0x1.0b36aefb24c61p-11,
    -0x1.d3fd5148c02adp-13, 0x1.a127e62be823fp-14, -0x1.78de114bd2ba3p-15, 0x1.58080fc6c5501p-16,
    -0x1.3cb956a97e50cp-17, 0x1.25ee5c779df6ap-18, -0x1.1267a928a8301p-19, 0x1.fc2f772d5985dp-21,
    -0x1.cf97a9d43bfafp-22, 0x1.c611dadcaca5cp-23, -0x1.040d214cb5f68p-23, 0x1.1620480d48665p-24,
    -0x1.870f1ae450b5p-26, 0x1.ed43751ce370bp-29,
};

}  // namespace oj
