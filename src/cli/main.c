#include <stdio.h>

int main(void)
{
    return puts("parley " PARLEY_VERSION) < 0;
}
