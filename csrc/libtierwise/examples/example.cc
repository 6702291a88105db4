// A standard container on a tier of its own, by an allocator of a few lines.
#include <cstddef>
#include <iostream>
#include <new>
#include <numeric>
#include <tierwise.h>
#include <vector>

template <typename T, unsigned Flags> struct TierAllocator {
	using value_type = T;
	template <typename U> struct rebind {
		using other = TierAllocator<U, Flags>;
	};

	TierAllocator() = default;
	template <typename U> TierAllocator(const TierAllocator<U, Flags> &) {}

	T *allocate(std::size_t n)
	{
		if (void *memory = tierwise_alloc(n * sizeof(T), Flags))
			return static_cast<T *>(memory);
		throw std::bad_alloc();
	}
	void deallocate(T *memory, std::size_t) { tierwise_free(memory); }
};

template <typename T, typename U, unsigned Flags>
bool operator==(const TierAllocator<T, Flags> &, const TierAllocator<U, Flags> &)
{
	return true;
}

int main()
{
	std::vector<int, TierAllocator<int, TIERWISE_CAP | TIERWISE_BW>> numbers(1000000);

	std::iota(numbers.begin(), numbers.end(), 1);
	std::cout << "sum " << std::accumulate(numbers.begin(), numbers.end(), 0LL) << "\n";
	return 0;
}
