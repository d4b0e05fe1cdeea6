// Division, remainders, powers, shifts and bits, open-coded. No integer division traps.
#include <llvm/IR/Intrinsics.h>

#include "base/error.h"
#include "codegen/llvm_ops.h"

namespace ourjit::llvm_ops {

namespace {

/// Quotient and remainder that round to zero.
struct Division {
  Value* quotient;
  Value* remainder;
};

/// Integers of up to 32 bits have exact quotients in f64: the rounded quotient of two such numbers
/// never reaches an integer that the exact one does not, as it is at least 1 / |b| away from it.
Value* divide_by_way_of_f64(const Operands& o, Value* a, Value* b) {
  const unsigned lanes = lanes_of(a);
  llvm::Type* f64 = o.builder.type(DType::f64, lanes);
  llvm::Type* i32 = o.builder.type(DType::i32, lanes);
  const auto to_float = [&](Value* v) {
    return o.ir.CreateSIToFP(o.ir.CreateIntCast(v, i32, o.is_signed()), f64);
  };
  Value* q = o.ir.CreateFPToSI(o.ir.CreateFDiv(to_float(a), to_float(b)), i32);
  return o.ir.CreateTrunc(q, a->getType());
}

/// The divisor if it is one number in all lanes that is known now.
const llvm::ConstantInt* known_divisor(Value* b) {
  const auto* c = llvm::dyn_cast<llvm::Constant>(b);
  if (c && c->getType()->isVectorTy()) c = c->getSplatValue();
  return llvm::dyn_cast_or_null<llvm::ConstantInt>(c);
}

/// Division by zero is reported, and done by 1 instead, as is the lowest number by -1, which gives
/// what wrapping gives.
Division divide(const Operands& o) {
  Value* b = o.b;
  const llvm::ConstantInt* known = known_divisor(b);
  const bool safe = known && !known->isZero() && !known->isMinusOne();
  if (!safe) {
    Value* zero = o.ir.CreateICmpEQ(b, o.builder.like_int(b, 0));
    o.builder.on_zero_division(zero);
    Value* trap = zero;
    if (o.is_signed()) {
      const unsigned bits = b->getType()->getScalarSizeInBits();
      Value* lowest = llvm::ConstantInt::get(b->getType(), llvm::APInt::getSignedMinValue(bits));
      Value* overflow = o.ir.CreateAnd(o.ir.CreateICmpEQ(o.a, lowest),
                                       o.ir.CreateICmpEQ(b, o.builder.like_int(b, -1)));
      trap = o.ir.CreateOr(zero, overflow);
    }
    b = o.ir.CreateSelect(trap, o.builder.like_int(b, 1), b);
  }
  Value* q = nullptr;
  if (!safe && lanes_of(b) > 1 && dtype_bytes(o.dtype) <= 4)
    q = divide_by_way_of_f64(o, o.a, b);
  else
    q = o.is_signed() ? o.ir.CreateSDiv(o.a, b) : o.ir.CreateUDiv(o.a, b);
  return {q, o.ir.CreateSub(o.a, o.ir.CreateMul(q, b))};
}

/// Where the remainder must move to the divisor's side.
Value* signs_differ(const Operands& o, Value* remainder) {
  Value* zero = o.builder.like_int(remainder, 0);
  return o.ir.CreateAnd(o.ir.CreateICmpNE(remainder, zero),
                        o.ir.CreateICmpSLT(o.ir.CreateXor(remainder, o.b), zero));
}

Value* float_remainder(const Operands& o) {
  return o.builder.call_bitcode(ScalarOp::fmod, o.dtype, {o.a, o.b});
}

/// Where a float remainder is not zero and has the other sign than the divisor.
Value* float_signs_differ(const Operands& o, Value* remainder) {
  Value* zero = o.builder.like(remainder, 0);
  Value* differ =
      o.ir.CreateXor(o.ir.CreateFCmpOLT(o.b, zero), o.ir.CreateFCmpOLT(remainder, zero));
  return o.ir.CreateAnd(o.ir.CreateFCmpUNE(remainder, zero), differ);
}

/// ATen's div_floor (c10/util/generic_math.h), which corrects the rounding of a / b.
Value* float_floor_div(const Operands& o) {
  auto& ir = o.ir;
  Value* zero = o.builder.like(o.a, 0);
  Value* one = o.builder.like(o.a, 1);
  Value* exact = ir.CreateFDiv(o.a, o.b);
  Value* r = float_remainder(o);
  Value* q = ir.CreateFDiv(ir.CreateFSub(o.a, r), o.b);
  q = ir.CreateSelect(float_signs_differ(o, r), ir.CreateFSub(q, one), q);
  Value* whole = ir.CreateUnaryIntrinsic(llvm::Intrinsic::floor, q);
  Value* up = ir.CreateFCmpOGT(ir.CreateFSub(q, whole), o.builder.like(o.a, 0.5));
  Value* rounded = ir.CreateSelect(up, ir.CreateFAdd(whole, one), whole);
  Value* signed_zero = ir.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, zero, exact);
  Value* result = ir.CreateSelect(ir.CreateFCmpOEQ(q, zero), signed_zero, rounded);
  return ir.CreateSelect(ir.CreateFCmpOEQ(o.b, zero), exact, result);
}

/// A loop of one block, which is entered from where the builder stood.
struct Loop {
  llvm::BasicBlock *before, *block, *after;
};

Loop begin_loop(const Operands& o, const std::string& name) {
  auto& ir = o.ir;
  Loop loop{ir.GetInsertBlock(), nullptr, nullptr};
  llvm::Function* function = loop.before->getParent();
  loop.block = llvm::BasicBlock::Create(ir.getContext(), name, function);
  loop.after = llvm::BasicBlock::Create(ir.getContext(), name + ".end", function);
  ir.CreateBr(loop.block);
  ir.SetInsertPoint(loop.block);
  return loop;
}

/// A value of the loop: `first` in the first round, then what the block's end adds.
llvm::PHINode* loop_value(const Operands& o, const Loop& loop, Value* first) {
  llvm::PHINode* v = o.ir.CreatePHI(first->getType(), 2);
  v->addIncoming(first, loop.before);
  return v;
}

/// Goes round again while any lane of `left` is not zero.
void end_loop(const Operands& o, const Loop& loop, Value* left) {
  Value* more = o.ir.CreateICmpNE(left, o.builder.like_int(o.a, 0));
  o.ir.CreateCondBr(o.builder.any(more), loop.block, loop.after);
  o.ir.SetInsertPoint(loop.after);
}

/// Squares and multiplies until no lane has bits of its exponent left; negative exponents give 1,
/// -1 or 0.
Value* integer_pow(const Operands& o) {
  auto& ir = o.ir;
  Value* one = o.builder.like_int(o.a, 1);
  Value* zero = o.builder.like_int(o.a, 0);
  Value* odd_exponent = ir.CreateICmpNE(ir.CreateAnd(o.b, one), zero);
  Value* negative = o.is_signed() ? ir.CreateICmpSLT(o.b, zero) : ir.CreateICmpNE(zero, zero);
  Value* first = ir.CreateSelect(negative, zero, o.b);
  const Loop loop = begin_loop(o, "pow");
  auto* power = loop_value(o, loop, one);
  auto* base = loop_value(o, loop, o.a);
  auto* exponent = loop_value(o, loop, first);
  Value* multiplied = ir.CreateMul(power, base);
  Value* odd = ir.CreateICmpNE(ir.CreateAnd(exponent, one), zero);
  Value* next = ir.CreateSelect(odd, multiplied, power);
  Value* rest = ir.CreateLShr(exponent, one);
  power->addIncoming(next, loop.block);
  base->addIncoming(ir.CreateMul(base, base), loop.block);
  exponent->addIncoming(rest, loop.block);
  end_loop(o, loop, rest);
  if (!o.is_signed()) return next;
  Value* minus_one = o.builder.like_int(o.a, -1);
  Value* sign = ir.CreateSelect(odd_exponent, minus_one, one);
  Value* inverse = ir.CreateSelect(ir.CreateICmpEQ(o.a, one), one,
                                   ir.CreateSelect(ir.CreateICmpEQ(o.a, minus_one), sign, zero));
  return ir.CreateSelect(negative, inverse, next);
}

/// |v|, of which the lowest number's is right as an unsigned one.
Value* magnitude(const Operands& o, Value* v) {
  if (!o.is_signed()) return v;
  return o.ir.CreateBinaryIntrinsic(llvm::Intrinsic::abs, v, o.ir.getFalse());
}

/// Whether a shift's amount is in 0 .. bits - 1.
Value* amount_fits(const Operands& o) {
  const unsigned bits = o.a->getType()->getScalarSizeInBits();
  return o.ir.CreateICmpULT(o.b, o.builder.like_int(o.b, bits));
}

}  // namespace

Value* floor_div(const Operands& o) {
  if (o.is_float()) return float_floor_div(o);
  const Division d = divide(o);
  if (!o.is_signed()) return d.quotient;
  Value* down = o.ir.CreateSExt(signs_differ(o, d.remainder), d.quotient->getType());
  return o.ir.CreateAdd(d.quotient, down);
}

Value* trunc_div(const Operands& o) {
  if (o.is_float())
    return o.ir.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, o.ir.CreateFDiv(o.a, o.b));
  return divide(o).quotient;
}

Value* mod(const Operands& o) {
  Value* r = o.is_float() ? float_remainder(o) : divide(o).remainder;
  if (o.is_float()) return o.ir.CreateSelect(float_signs_differ(o, r), o.ir.CreateFAdd(r, o.b), r);
  if (!o.is_signed()) return r;
  return o.ir.CreateSelect(signs_differ(o, r), o.ir.CreateAdd(r, o.b), r);
}

/// Euclid's algorithm, until no lane has a remainder left.
Value* gcd(const Operands& o) {
  auto& ir = o.ir;
  if (is_bool(o.dtype)) return ir.CreateOr(o.a, o.b);
  Value* zero = o.builder.like_int(o.a, 0);
  Value* first_a = magnitude(o, o.a);
  Value* first_b = magnitude(o, o.b);
  const Loop loop = begin_loop(o, "gcd");
  auto* a = loop_value(o, loop, first_a);
  auto* b = loop_value(o, loop, first_b);
  Value* done = ir.CreateICmpEQ(a, zero);
  Value* rest = ir.CreateURem(b, ir.CreateSelect(done, o.builder.like_int(o.a, 1), a));
  Value* result = ir.CreateSelect(done, b, a);
  a->addIncoming(rest, loop.block);
  b->addIncoming(result, loop.block);
  end_loop(o, loop, rest);
  return result;
}

Value* fmod(const Operands& o) { return o.is_float() ? float_remainder(o) : divide(o).remainder; }

Value* pow(const Operands& o) {
  return o.is_float() ? o.builder.call_bitcode(ScalarOp::pow, o.dtype, {o.a, o.b}) : integer_pow(o);
}

Value* invert(const Operands& o) { return o.ir.CreateNot(o.a); }
Value* bitwise_and(const Operands& o) { return o.ir.CreateAnd(o.a, o.b); }
Value* bitwise_or(const Operands& o) { return o.ir.CreateOr(o.a, o.b); }
Value* bitwise_xor(const Operands& o) { return o.ir.CreateXor(o.a, o.b); }

// Shifts out of range give no bits of a (a's sign for shr), where LLVM's would be poison; the
// poison is not selected. A bool is shifted as the byte 0 or 1, and what is not zero is true.
Value* shl(const Operands& o) {
  if (is_bool(o.dtype)) return o.a;
  return o.ir.CreateSelect(amount_fits(o), o.ir.CreateShl(o.a, o.b), o.builder.like_int(o.a, 0));
}

Value* shr(const Operands& o) {
  if (is_bool(o.dtype)) return o.ir.CreateAnd(o.a, o.ir.CreateNot(o.b));
  if (!o.is_signed())
    return o.ir.CreateSelect(amount_fits(o), o.ir.CreateLShr(o.a, o.b), o.builder.like_int(o.a, 0));
  const unsigned bits = o.a->getType()->getScalarSizeInBits();
  Value* last = o.builder.like_int(o.b, bits - 1);
  return o.ir.CreateAShr(o.a, o.ir.CreateSelect(amount_fits(o), o.b, last));
}

}  // namespace ourjit::llvm_ops
