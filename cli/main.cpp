// The `heddle` command.
int main() { return 0; }
