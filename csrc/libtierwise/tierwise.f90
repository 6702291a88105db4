! libtierwise for Fortran: compile this module with the program, and link with -ltierwise.
!
!     use tierwise
!     real(c_double), pointer :: grid(:)
!     type(c_ptr) :: memory
!     memory = tierwise_alloc(8_c_size_t * n, TIERWISE_LAT)
!     call c_f_pointer(memory, grid, [n])
!
! What each function does is said in tierwise.h.
module tierwise
  use, intrinsic :: iso_c_binding
  implicit none

  integer(c_int), parameter :: TIERWISE_LAT = 1, TIERWISE_BW = 2, TIERWISE_CAP = 4, TIERWISE_SHL = 8
  integer(c_int), parameter :: TIERWISE_TAKEN = 0, TIERWISE_PARTLY = 1, TIERWISE_NO_AGENT = 2, TIERWISE_REFUSED = 3, &
    TIERWISE_IMPOSSIBLE = 4, TIERWISE_NO_HINT = 5
  integer(c_int), parameter :: TIERWISE_CREATE = 1, TIERWISE_EXCL = 2, TIERWISE_RETAIN = 4

  type, bind(c) :: tierwise_share
    character(kind=c_char) :: tier(16)
    integer(c_size_t) :: bytes
  end type

  type, bind(c) :: tierwise_event
    character(kind=c_char) :: tier(16)
    integer(c_size_t) :: bytes
  end type

  interface
    type(c_ptr) function tierwise_alloc(size, flags) bind(c)
      import
      integer(c_size_t), value :: size
      integer(c_int), value :: flags
    end function

    ! Names end with c_null_char: tierwise_alloc_on(n, "cxl" // c_null_char).
    type(c_ptr) function tierwise_alloc_on(size, tier) bind(c)
      import
      integer(c_size_t), value :: size
      character(kind=c_char), intent(in) :: tier(*)
    end function

    type(c_ptr) function tierwise_grow(memory, size) bind(c)
      import
      type(c_ptr), value :: memory
      integer(c_size_t), value :: size
    end function

    subroutine tierwise_free(memory) bind(c)
      import
      type(c_ptr), value :: memory
    end subroutine

    integer(c_size_t) function tierwise_size(memory) bind(c)
      import
      type(c_ptr), value :: memory
    end function

    integer(c_int) function tierwise_advise(start, size, flags) bind(c)
      import
      type(c_ptr), value :: start
      integer(c_size_t), value :: size
      integer(c_int), value :: flags
    end function

    integer(c_int) function tierwise_hint(memory) bind(c)
      import
      type(c_ptr), value :: memory
    end function

    integer(c_int) function tierwise_where(start, size, shares, room) bind(c)
      import
      type(c_ptr), value :: start
      integer(c_size_t), value :: size
      type(tierwise_share), intent(out) :: shares(*)
      integer(c_int), value :: room
    end function

    type(c_ptr) function tierwise_region_open(name, size, flags, options) bind(c)
      import
      character(kind=c_char), intent(in) :: name(*)
      integer(c_size_t), value :: size
      integer(c_int), value :: flags, options
    end function

    integer(c_size_t) function tierwise_region_size(region) bind(c)
      import
      type(c_ptr), value :: region
    end function

    type(c_ptr) function tierwise_region_grow(region, size) bind(c)
      import
      type(c_ptr), value :: region
      integer(c_size_t), value :: size
    end function

    integer(c_int) function tierwise_region_close(region) bind(c)
      import
      type(c_ptr), value :: region
    end function

    integer(c_int) function tierwise_region_drop(name) bind(c)
      import
      character(kind=c_char), intent(in) :: name(*)
    end function

    integer(c_int) function tierwise_events() bind(c)
      import
    end function

    integer(c_int) function tierwise_next_event(event) bind(c)
      import
      type(tierwise_event), intent(out) :: event
    end function

    type(c_ptr) function tierwise_reason_text() bind(c, name="tierwise_reason")
      import
    end function
  end interface

contains

  ! Why the last hint was not taken, or the last call failed.
  function tierwise_reason() result(reason)
    character(:), allocatable :: reason
    character(kind=c_char), pointer :: text(:)
    type(c_ptr) :: raw
    integer :: i, n
    interface
      integer(c_size_t) function length_of(text) bind(c, name="strlen")
        import
        type(c_ptr), value :: text
      end function
    end interface

    raw = tierwise_reason_text()
    n = int(length_of(raw))
    call c_f_pointer(raw, text, [n])
    allocate (character(n) :: reason)
    do i = 1, n
      reason(i:i) = text(i)
    end do
  end function
end module
