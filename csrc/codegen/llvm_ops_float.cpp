// Scalar operations on any number or on floats, open-coded.
#include <llvm/IR/Intrinsics.h>

#include <limits>

#include "codegen/llvm_ops.h"

namespace ourjit::llvm_ops {

namespace {

using Predicate = llvm::CmpInst::Predicate;

Value* compare(const Operands& o, Predicate f, Predicate s, Predicate u) {
  if (o.is_float()) return o.ir.CreateFCmp(f, o.a, o.b);
  return o.ir.CreateICmp(o.is_signed() ? s : u, o.a, o.b);
}

Value* unary(const Operands& o, llvm::Intrinsic::ID id, Value* v) {
  return o.ir.CreateUnaryIntrinsic(id, v);
}

Value* is_nan(const Operands& o, Value* v) { return o.ir.CreateFCmpUNO(v, v); }

/// The smaller or the larger; b where they are equal or unordered. One vminps or vmaxps.
Value* extreme(const Operands& o, bool larger, Value* a, Value* b) {
  if (o.is_float())
    return o.ir.CreateSelect(larger ? o.ir.CreateFCmpOGT(a, b) : o.ir.CreateFCmpOLT(a, b), a, b);
  if (is_bool(o.dtype)) return larger ? o.ir.CreateOr(a, b) : o.ir.CreateAnd(a, b);
  using namespace llvm::Intrinsic;
  const ID id = o.is_signed() ? (larger ? smax : smin) : (larger ? umax : umin);
  return o.ir.CreateBinaryIntrinsic(id, a, b);
}

}  // namespace

Value* cast(const Operands& o) { return o.builder.cast(o.a, o.dtype, o.result); }

Value* neg(const Operands& o) { return o.is_float() ? o.ir.CreateFNeg(o.a) : o.ir.CreateNeg(o.a); }

Value* abs(const Operands& o) {
  if (o.is_float()) return unary(o, llvm::Intrinsic::fabs, o.a);
  return o.is_signed() ? o.ir.CreateBinaryIntrinsic(llvm::Intrinsic::abs, o.a, o.ir.getFalse())
                       : o.a;
}

Value* sign(const Operands& o) {
  if (o.is_float()) {
    Value* zero = o.builder.like(o.a, 0);
    Value* negative =
        o.ir.CreateSelect(o.ir.CreateFCmpOLT(o.a, zero), o.builder.like(o.a, -1), zero);
    return o.ir.CreateSelect(o.ir.CreateFCmpOGT(o.a, zero), o.builder.like(o.a, 1), negative);
  }
  if (is_bool(o.dtype)) return o.a;
  llvm::Type* t = o.a->getType();
  Value* zero = o.builder.like_int(o.a, 0);
  Value* positive = o.ir.CreateZExt(
      o.is_signed() ? o.ir.CreateICmpSGT(o.a, zero) : o.ir.CreateICmpUGT(o.a, zero), t);
  if (!o.is_signed()) return positive;
  return o.ir.CreateSub(positive, o.ir.CreateZExt(o.ir.CreateICmpSLT(o.a, zero), t));
}

Value* rsqrt(const Operands& o) {
  return o.ir.CreateFDiv(o.builder.like(o.a, 1), unary(o, llvm::Intrinsic::sqrt, o.a));
}

Value* reciprocal(const Operands& o) { return o.ir.CreateFDiv(o.builder.like(o.a, 1), o.a); }

Value* isnan(const Operands& o) {
  if (o.is_float()) return is_nan(o, o.a);
  return llvm::ConstantInt::getFalse(llvm::CmpInst::makeCmpResultType(o.a->getType()));
}

Value* isinf(const Operands& o) {
  if (!o.is_float()) return isnan(o);
  return o.ir.CreateFCmpOEQ(unary(o, llvm::Intrinsic::fabs, o.a),
                            o.builder.like(o.a, std::numeric_limits<double>::infinity()));
}

Value* signbit(const Operands& o) {
  if (!o.is_float() && !o.is_signed()) return isnan(o);
  Value* bits = o.a;
  if (o.is_float()) {
    const DType integer = o.dtype == DType::f64 ? DType::i64 : DType::i32;
    bits = o.ir.CreateBitCast(o.a, o.builder.type(integer, lanes_of(o.a)));
  }
  return o.ir.CreateICmpSLT(bits, o.builder.like_int(bits, 0));
}

Value* add(const Operands& o) {
  if (is_bool(o.dtype)) return o.ir.CreateOr(o.a, o.b);
  return o.is_float() ? o.ir.CreateFAdd(o.a, o.b) : o.ir.CreateAdd(o.a, o.b);
}

Value* sub(const Operands& o) {
  return o.is_float() ? o.ir.CreateFSub(o.a, o.b) : o.ir.CreateSub(o.a, o.b);
}

Value* mul(const Operands& o) {
  if (is_bool(o.dtype)) return o.ir.CreateAnd(o.a, o.b);
  return o.is_float() ? o.ir.CreateFMul(o.a, o.b) : o.ir.CreateMul(o.a, o.b);
}

Value* div(const Operands& o) { return o.ir.CreateFDiv(o.a, o.b); }

Value* minimum(const Operands& o) {
  Value* r = extreme(o, false, o.b, o.a);
  return o.is_float() ? o.ir.CreateSelect(is_nan(o, o.b), o.b, r) : r;
}

Value* maximum(const Operands& o) {
  Value* r = extreme(o, true, o.b, o.a);
  return o.is_float() ? o.ir.CreateSelect(is_nan(o, o.b), o.b, r) : r;
}

Value* fmin(const Operands& o) {
  Value* r = extreme(o, false, o.b, o.a);
  return o.is_float() ? o.ir.CreateSelect(is_nan(o, o.a), o.b, r) : r;
}

Value* fmax(const Operands& o) {
  Value* r = extreme(o, true, o.b, o.a);
  return o.is_float() ? o.ir.CreateSelect(is_nan(o, o.a), o.b, r) : r;
}

Value* eq(const Operands& o) {
  return compare(o, Predicate::FCMP_OEQ, Predicate::ICMP_EQ, Predicate::ICMP_EQ);
}
Value* ne(const Operands& o) {
  return compare(o, Predicate::FCMP_UNE, Predicate::ICMP_NE, Predicate::ICMP_NE);
}
Value* lt(const Operands& o) {
  return compare(o, Predicate::FCMP_OLT, Predicate::ICMP_SLT, Predicate::ICMP_ULT);
}
Value* le(const Operands& o) {
  return compare(o, Predicate::FCMP_OLE, Predicate::ICMP_SLE, Predicate::ICMP_ULE);
}
Value* gt(const Operands& o) {
  return compare(o, Predicate::FCMP_OGT, Predicate::ICMP_SGT, Predicate::ICMP_UGT);
}
Value* ge(const Operands& o) {
  return compare(o, Predicate::FCMP_OGE, Predicate::ICMP_SGE, Predicate::ICMP_UGE);
}

Value* where(const Operands& o) { return o.ir.CreateSelect(o.a, o.b, o.c); }

Value* rand_uniform(const Operands& o) {
  return o.builder.call_random(ScalarOp::rand_uniform, o.result, o.a, o.b);
}
Value* rand_normal(const Operands& o) {
  return o.builder.call_random(ScalarOp::rand_normal, o.result, o.a, o.b);
}

}  // namespace ourjit::llvm_ops
