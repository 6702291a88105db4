! A Fortran array on the slowest tier.
program example
  use tierwise
  implicit none
  integer(c_size_t), parameter :: n = 1000000
  real(c_double), pointer :: field(:)
  type(c_ptr) :: memory

  memory = tierwise_alloc(8 * n, TIERWISE_CAP)
  if (.not. c_associated(memory)) error stop "no memory"
  call c_f_pointer(memory, field, [n])
  field = 2.0d0
  print '(a, f10.1)', "sum ", sum(field)
  if (tierwise_hint(memory) /= TIERWISE_TAKEN) print '(a)', "hint not taken: " // tierwise_reason()
  call tierwise_free(memory)
end program
