from function.func import new as new
