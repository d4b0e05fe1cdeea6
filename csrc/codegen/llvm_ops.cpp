#include "codegen/llvm_ops.h"

#include <llvm/IR/Intrinsics.h>

#include "base/error.h"
#include "codegen/math.h"

namespace ourjit {

namespace {

/// How to make one operation: one of the three.
struct Maker {
  Value* (*code)(const llvm_ops::Operands&) = nullptr;
  llvm::Intrinsic::ID intrinsic = llvm::Intrinsic::not_intrinsic;
  const char* bitcode = nullptr;
};

constexpr Maker kMakers[] = {
#define CODE(f) {.code = llvm_ops::f}
#define INTRINSIC(i) {.intrinsic = llvm::Intrinsic::i}
#define BITCODE(f) {.bitcode = #f}
#define X(name, arity, result, domain, llvm, cuda) llvm,
#include "base/scalar_ops.def"
#undef X
#undef CODE
#undef INTRINSIC
#undef BITCODE
};

}  // namespace

Value* ValueBuilder::compute(ScalarOp op, DType operand, DType result, std::vector<Value*> args) {
  // A seed stays scalar.
  if (op != ScalarOp::rand_uniform && op != ScalarOp::rand_normal) unify(args);
  const Maker& maker = kMakers[static_cast<size_t>(op)];
  if (maker.bitcode) return call_bitcode(op, operand, args);
  if (maker.code) {
    args.resize(3);
    return maker.code({*this, ir_, operand, result, args[0], args[1], args[2]});
  }
  if (args.size() == 2) return ir_.CreateBinaryIntrinsic(maker.intrinsic, args[0], args[1]);
  return ir_.CreateUnaryIntrinsic(maker.intrinsic, args[0]);
}

}  // namespace ourjit
